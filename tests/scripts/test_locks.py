"""The lock files: every Python has them, they are the pins of ``constraints.txt``, and every line is hashed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import re
import zipfile
from functools import cache
from pathlib import Path

import lock
import pytest
from _venv import SetupError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .test_constraints import PYTHONS, direct_dependencies, pinned_version, pins

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("core", "cuda", "dicom", "onnx", "viewer")
CASES = [(python, part) for python in PYTHONS for part in PARTS]
HASH = re.compile(r"    --hash=sha256:([0-9a-f]{64})")


@cache
def entries(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Name -> version and hashes of a lock file; fails on a line of another form."""
    text = path.read_text(encoding="utf-8")
    found: dict[str, tuple[str, list[str]]] = {}
    for entry in re.split(r"(?<!\\)\n", text):
        if not entry or entry.startswith("#"):
            continue
        pin, *sums = entry.split(" \\\n")
        name, _, version = pin.partition("==")
        assert name == canonicalize_name(name), pin
        assert name not in found, f"{name} stands twice in {path.name}"
        assert sums and all(HASH.fullmatch(line) for line in sums), f"{pin} in {path.name} is not hashed"
        found[name] = (version, [line.partition("sha256:")[2] for line in sums])
    return found


def test_there_is_a_lock_of_every_part_for_every_python_and_no_other() -> None:
    assert lock.PYTHONS == PYTHONS
    there = {path.name for path in (ROOT / "locks").iterdir()}
    wanted = {lock.lock_file(part, python).name for python, part in CASES}
    assert wanted <= there
    assert there - wanted == {"requirements-py311-cpu.txt", "builds.sha256"}


@pytest.mark.parametrize(("python", "part"), CASES)
def test_a_lock_has_the_pins_each_with_its_files(python: str, part: str) -> None:
    pinned = pins(ROOT, python)
    core = entries(lock.lock_file("core", python))
    found = entries(lock.lock_file(part, python))
    assert list(found) == sorted(found)
    for name, (version, sums) in found.items():
        assert sums == sorted(set(sums))
        if part == "cuda" and name not in pinned:
            assert name.startswith(lock.CUDA), f"{name} is not pinned"
        else:
            assert Version(version) == pinned_version(pinned[name]), f"{name}: run python scripts/lock.py"
    if part == "core":
        assert not [name for name in found if name.startswith(lock.CUDA)]
        assert "setuptools" in found  # what builds the package, where nothing can be fetched
    else:
        assert not found.keys() & core.keys()


@pytest.mark.parametrize(("python", "part"), CASES)
def test_what_the_project_asks_for_is_locked(python: str, part: str) -> None:
    extras = () if part == "core" else (part,)
    found = {**entries(lock.lock_file("core", python)), **entries(lock.lock_file(part, python))}
    for wanted in direct_dependencies(ROOT, extras):
        if wanted.marker is None or wanted.marker.evaluate(lock.surroundings(python)):
            version, _ = found[canonicalize_name(wanted.name)]
            assert wanted.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("extras", [("dicom",)])
def test_what_the_locked_packages_need_is_locked(extras: tuple[str, ...]) -> None:
    """By the metadata of what is installed here, taken for Python 3.11 on Linux, the CUDA libraries of torch aside."""
    found = entries(lock.lock_file("core", "3.11")) | entries(lock.lock_file("dicom", "3.11"))
    missing = set()
    for name in found:
        try:
            asked = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # another Python's
            continue
        needed = [Requirement(text) for text in asked]
        names = {canonicalize_name(one.name) for one in needed if lock.applies(one, "3.11")}
        missing |= {one for one in names - found.keys() if not one.startswith(lock.CUDA)}
    assert not missing


def test_the_build_without_cuda_is_the_one_of_the_list() -> None:
    digest, _, wheel = (ROOT / "locks" / "builds.sha256").read_text(encoding="utf-8").strip().partition("  ")
    version, sums = entries(lock.lock_file("cpu", "3.11"))["torch"]
    assert sums == [digest] and wheel.startswith(f"torch-{version}-cp311-")
    assert version == f"{pinned_version(pins(ROOT, '3.11')['torch'])}+cpu"
    assert digest in entries(lock.lock_file("core", "3.11"))["torch"][1]  # both files given, pip takes what both allow
    assert digest not in entries(lock.lock_file("core", "3.12"))["torch"][1]


def wheel_of(requires: list[str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        lines = ["Metadata-Version: 2.1", "Name: x", *(f"Requires-Dist: {text}" for text in requires)]
        archive.writestr("x-1.dist-info/METADATA", "\n".join([*lines, "", "Requires-Dist: of the description"]))
    return content.getvalue()


class Answer:
    def __init__(self, status: int = 200, content: bytes = b"", data: object = None, kind: str = "") -> None:
        self.status_code, self.content, self.data, self.headers = status, content, data, {"Content-Type": kind}

    def json(self) -> object:
        return self.data


class Session:
    """An index with the packages given: file name -> what it requires."""

    def __init__(
        self, packages: dict[str, list[str]], yanked: str = "", tampered: str = "", kind: str = "json"
    ) -> None:
        self.packages, self.yanked, self.tampered, self.kind = packages, yanked, tampered, kind

    def get(self, url: str, headers: dict[str, str] | None = None) -> Answer:
        name = url.rstrip("/").rpartition("/")[2]
        if url.startswith("files/"):
            return Answer(content=wheel_of(self.packages[name])) if name in self.packages else Answer(404)
        files = [
            {
                "filename": file,
                "url": f"files/{file}",
                "yanked": file == self.yanked,
                "hashes": {"sha256": self.sum_of(file)},
            }
            for file in self.packages
            if file.startswith(f"{name}-")
        ]
        return Answer(data={"files": files}, kind=self.kind) if files else Answer(404)

    def sum_of(self, file: str) -> str:
        return hashlib.sha256(b"" if file == self.tampered else wheel_of(self.packages[file])).hexdigest()


def index(**options) -> lock.Index:
    packages = {
        "a-1.0-py3-none-any.whl": ["b>=1; python_version < '3.11'", "c[more]", "d; platform_system == 'Windows'"],
        "a-1.0.tar.gz": [],
        "a-2.0-py3-none-any.whl": [],
        "b-1.0-py3-none-any.whl": [],
        "c-1.0-cp311-cp311-manylinux_2_28_x86_64.whl": ["b>=2; extra == 'more'"],
        "c-1.0-cp310-cp310-manylinux_2_28_x86_64.whl": ["e; extra == 'other'"],
        "torch-1.0-py3-none-any.whl": ["triton==3; platform_system == 'Linux'", "nvidia-x<3,>=1"],
        "nvidia-x-9": [],
        "nvidia_x-1.0-py3-none-any.whl": [],
    }
    session = Session(packages, **options)
    return lock.Index(session, "simple")


ONE = lock.Version("1.0")  # pip's own class
PINNED = {name: ONE for name in "abc"}


def test_the_closure_follows_markers_and_extras_of_one_python() -> None:
    a = [lock.Requirement("a")]
    assert sorted(lock.closure(index(), a, "3.10", PINNED)) == ["a", "b", "c"]
    with pytest.raises(SetupError, match=r"b>=2; extra == .more. is needed for Python 3.11, pinned is 1.0"):
        lock.closure(index(), a, "3.11", PINNED)
    with pytest.raises(SetupError, match=r"c 1.0 has no wheel for Python 3.12"):
        lock.closure(index(), a, "3.12", PINNED)
    with pytest.raises(SetupError, match=r"(?s)c\[more\] is needed for Python 3.10, pinned is nothing"):
        lock.closure(index(), a, "3.10", {"a": ONE, "b": ONE})


def test_the_cuda_libraries_count_only_where_they_are_asked_for() -> None:
    torch = [lock.Requirement("torch")]
    assert sorted(lock.closure(index(), torch, "3.11", {"torch": ONE})) == ["torch"]
    with pytest.raises(SetupError, match="the index of packages answers 404"):
        lock.closure(index(), torch, "3.11", {"torch": ONE}, cuda=True)


def test_hashes_are_those_of_all_files_of_a_version_and_withdrawn_ones_are_refused() -> None:
    wheel, source = wheel_of(index().session.packages["a-1.0-py3-none-any.whl"]), wheel_of([])
    wanted = {hashlib.sha256(wheel).hexdigest(), hashlib.sha256(source).hexdigest()}
    assert index().hashes("a", ONE) == wanted
    with pytest.raises(SetupError, match="a 1.0 was withdrawn"):
        index(yanked="a-1.0.tar.gz").hashes("a", ONE)


def test_a_file_that_is_not_the_one_the_index_names_is_refused() -> None:
    with pytest.raises(SetupError, match="its SHA-256 differs"):
        index(tampered="b-1.0-py3-none-any.whl").requires("b", ONE, "3.11")
    with pytest.raises(SetupError, match="no JSON"):
        index(kind="text/html").files("a")


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated:DeprecationWarning")  # of older pips
def test_this_pip_is_one_that_the_script_can_ask() -> None:
    with lock.pip_index() as found:
        assert found.url.startswith(("http", "file")) and callable(found.session.get)
