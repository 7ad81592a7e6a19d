"""Which file of the repository is which page of the site."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = "generated"
BUNDLES = ("mamba_mis", "medconvmamba", "medspectralnet", "clinical_fmamba")
CONFIGS = ("train", "evaluate", "inference")
ROOMS = (
    "networks.nets",
    "networks.blocks",
    "networks.layers",
    "ops",
    "losses",
    "metrics",
    "transforms",
    "data",
    "handlers",
    "engines",
    "optimizers",
    "bundle",
    "export",
    "visualize",
    "reports",
    "dicom",
    "experiments",
    "utils",
)


def outside_pages() -> dict[str, str]:
    """Pages that lie outside of ``docs/``, by their path from the root, and the name of their copy in the site."""
    pages = {f"{name}.md": f"{GENERATED}/project/{name.lower()}" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")}
    for name in BUNDLES:
        pages[f"bundles/{name}/docs/README.md"] = f"{GENERATED}/bundles/{name}"
        for card in sorted((ROOT / "bundles" / name / "models").glob("*.md")):
            pages[f"bundles/{name}/models/{card.name}"] = f"{GENERATED}/bundles/{name}_{card.stem}"
    pages["benchmarks/README.md"] = f"{GENERATED}/benchmarks/index"
    for result in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        pages[f"benchmarks/results/{result.name}"] = f"{GENERATED}/benchmarks/{result.stem}"
    return pages


def site_pages() -> dict[str, str]:
    """Every file or folder of the repository that a link may name, and its page in the site."""
    pages = outside_pages()
    pages |= {f"docs/{path.name}": path.stem for path in DOCS.glob("*.md")}
    pages |= {"README.md": "index", "docs/README.md": "index", "docs": "index", "benchmarks/results": "measurements"}
    for name in BUNDLES:
        pages |= {f"bundles/{name}/configs/{kind}.yaml": f"{GENERATED}/keys/{name}_{kind}" for kind in CONFIGS}
    for room in ROOMS:
        pages[f"medssm_monai/{room.replace('.', '/')}/__init__.py"] = f"{GENERATED}/api/{room.replace('.', '_')}"
    pages["docs/gallery"] = f"{GENERATED}/gallery/index"
    for script in sorted((DOCS / "gallery").glob("plot_*.py")):
        pages[f"docs/gallery/{script.name}"] = f"{GENERATED}/gallery/{script.stem}"
    return pages


def write_if_changed(path: Path, text: str) -> None:
    """Leave a file that is the same as it was, so that Sphinx does not read its page again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def heading_name(heading: str) -> str:
    """Anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
