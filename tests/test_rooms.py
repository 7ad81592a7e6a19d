"""The rooms of the package: what imports what."""

from __future__ import annotations

import ast
import importlib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medssm_monai"
FLOORS = [
    *(
        "utils",
        "ops",
        "networks",
        "registry",
        "optimizers",
        "losses",
        "data",
        "metrics",
        "transforms",
        "visualize",
        "reports",
    ),
    *("bundle", "engines", "handlers", "export", "experiments", "dicom", "apps", "__main__"),
]
"""From the ground up: a room imports only those before it. The package's face, with ``load``, is the roof."""


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(package: Path) -> dict[str, set[str]]:
    """Each module of a package, and the modules of the package that stand in its import statements."""
    files = {module_name(path, package): path for path in package.rglob("*.py")}
    found: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = inside.split(".")[: len(inside.split(".")) - node.level + 1]
                source = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    found[name].add(f"{source}.{alias.name}" if f"{source}.{alias.name}" in files else source)
    return found


def upwards(found: dict[str, set[str]], package: str) -> list[str]:
    """Imports of a room above."""
    height = {f"{package}.{room}": number for number, room in enumerate(FLOORS)}

    def floor(module: str) -> int:
        return height[".".join(module.split(".")[:2])] if module != package else len(FLOORS)

    return [f"{a} -> {b}" for a, imported in found.items() for b in sorted(imported) if floor(b) > floor(a)]


def circle(found: dict[str, set[str]], package: str) -> list[str]:
    """Modules that import one another in a circle; faces, which hand out what lies below them, are left out."""
    faces = {name for name in found if any(other.startswith(f"{name}.") for other in found)}
    graph = {name: imported - faces for name, imported in found.items() if name not in faces}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    return imports(PACKAGE)


def test_no_import_goes_up(found):
    of_its_version = [f"medssm_monai.apps.{module} -> medssm_monai" for module in ("label.app", "cli.main")]
    command = "medssm_monai.registry.__main__ -> medssm_monai.apps.registry.main"  # another door to it
    assert sorted(upwards(found, PACKAGE.name)) == sorted([*of_its_version, command])


def test_no_modules_import_one_another_in_a_circle(found):
    assert circle(found, PACKAGE.name) == []


def test_the_ground_floor_imports_nothing_of_the_package(found):
    of_utils = {
        other for name, imported in found.items() if name.startswith("medssm_monai.utils") for other in imported
    }
    assert {other for other in of_utils if not other.startswith("medssm_monai.utils")} == set()


def test_every_room_has_its_floor(found):
    rooms = {name.split(".")[1] for name in found if "." in name}
    assert rooms == set(FLOORS)


def test_what_is_wrong_is_found(tmp_path):
    package = tmp_path / "house"
    for name, text in {
        "__init__": "",
        "utils/__init__": "from .a import x",
        "utils/a": "from .b import y\nfrom ..data import z",
        "utils/b": "def y():\n    from . import a",
        "data/__init__": "from ..utils import x",
    }.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = imports(package)
    assert upwards(found, "house") == ["house.utils.a -> house.data"]
    assert set(circle(found, "house")) == {"house.utils.a", "house.utils.b"}


@pytest.mark.parametrize("room", FLOORS)
def test_every_public_name_is_there(room):
    face = importlib.import_module(f"{PACKAGE.name}.{room}")
    missing = [name for name in getattr(face, "__all__", ()) if getattr(face, name, None) is None]
    assert missing == []
