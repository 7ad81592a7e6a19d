"""``python -m medssm_monai``: the command ``medssm``, where it is not on the path."""

import sys

from .apps.cli import main

if __name__ == "__main__":
    sys.exit(main())
