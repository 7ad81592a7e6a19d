"""``python -m medssm_monai``: the command ``medssm``, where it is not on the path."""

import sys

if __name__ == "__main__":
    try:
        from .apps.cli import main
    except ModuleNotFoundError as error:
        sys.exit(
            f"medssm needs the package {error.name!r}, which {sys.executable} does not have. Activate the environment "
            "that medssm-monai is installed in (source .venv/bin/activate), or install it: pip install medssm-monai."
        )
    sys.exit(main())
