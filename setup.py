"""What pyproject.toml cannot say: a wheel takes the bundles, which lie beside the package, into it."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BUNDLES = Path(__file__).resolve().parent / "bundles"
FOLDERS = ("configs", "docs", "scripts", "splits")
SUMS = "SHA256SUMS"  # of what lies in models/
WEIGHTS = (".md", ".json", ".pt")  # a model card, and what lies beside it


def files_of(bundle: Path) -> list[Path]:
    """What belongs to a bundle: not its results, and of the weights those with a model card."""
    kept = [bundle / "LICENSE", *(path for folder in FOLDERS for path in (bundle / folder).rglob("*"))]
    cards = [card for card in (bundle / "models").glob("*.md") if card.with_suffix(".pt").is_file()]
    kept += [card.with_suffix(ending) for card in cards for ending in WEIGHTS]
    return sorted(path for path in kept if path.is_file() and "__pycache__" not in path.parts)


class BuildWithBundles(build_py):
    """Copies ``bundles/NAME`` to ``medssm_monai/bundles/NAME``; an editable installation reads them in place."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for config in sorted(BUNDLES.glob("*/configs/inference.yaml")):
            for path in files_of(config.parent.parent):
                target = Path(self.build_lib, "medssm_monai", "bundles", path.relative_to(BUNDLES))
                self.mkpath(str(target.parent))
                self.copy_file(str(path), str(target))
        self.copy_file(str(BUNDLES / SUMS), str(Path(self.build_lib, "medssm_monai", "bundles", SUMS)))


setup(cmdclass={"build_py": BuildWithBundles})
