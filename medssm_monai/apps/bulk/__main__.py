"""``python -m medssm_monai.apps.bulk``."""

from __future__ import annotations

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
