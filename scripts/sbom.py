"""Write down what is installed: a bill of materials (CycloneDX 1.6) and the licenses of all packages.

    python -m venv .venv-release
    .venv-release/bin/pip install cyclonedx-bom -c constraints.txt
    .venv-release/bin/python scripts/sbom.py --python ENVIRONMENT/bin/python --output FOLDER

``sbom.json`` and ``licenses.md`` go to the current folder, or to ``--output``. The environment is that of the Python
that runs this, or of ``--python``; cyclonedx-bom (extra ``release``) need only be in the first. Beside MONAI a package
that it brings makes every ``import monai`` slower. No network is asked.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from _licenses import HEADINGS, installed, report
from _venv import ROOT, SetupError, guarded, say

SPECIFICATION = "1.6"


def write_sbom(python: str, target: Path) -> None:
    """CycloneDX of an interpreter's environment; the same environment gives the same file.

    Raises:
        SetupError: cyclonedx-bom is missing, or fails.
    """
    if importlib.util.find_spec("cyclonedx_py") is None:
        raise SetupError("cyclonedx-bom is missing: pip install cyclonedx-bom -c constraints.txt")
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--spec-version", SPECIFICATION, "--output-reproducible"]
    command = [sys.executable, "-m", "cyclonedx_py", "environment", *options, "--output-file", str(target), python]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SetupError(f"cyclonedx-bom failed: {done.stderr.strip()}")


def main(arguments: list[str] | None = None) -> None:
    """Both files, and what to look at first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment (default: this one)")
    parser.add_argument("--output", default=".", metavar="FOLDER", help="where the files go; made where it is missing")
    options = parser.parse_args(arguments)
    packages = installed(options.python)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    write_sbom(options.python, folder / "sbom.json")
    (folder / "licenses.md").write_text(report(packages), encoding="utf-8")
    say(f"{folder / 'sbom.json'}, {folder / 'licenses.md'}: {len(packages)} packages.")
    for kind, heading in list(HEADINGS.items())[:-1]:
        names = [one.name for one in packages if one.copyleft == kind]
        say(f"{heading}: {', '.join(names) or 'none'}.")


if __name__ == "__main__":
    with guarded():
        main()
