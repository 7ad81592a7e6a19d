"""``python -m medssm_monai.apps.cli``, where the command ``medssm`` is not on the path."""

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
