"""Write the lock files: the pins of ``constraints.txt`` with the SHA-256 of every file that the index has of them.

    python scripts/lock.py

For every Python there is ``locks/requirements-pyXY.txt`` with the core dependencies, and a file each for what the
extras ``cuda``, ``dicom``, ``onnx`` and ``viewer`` add, all for Linux on x86-64; ``-cpu`` holds torch to the build
without CUDA. Nothing is resolved: a package that is needed and not pinned is an error, but for the CUDA libraries of
torch, which torch pins itself or bounds.

Standard library and pip, whose settings name the index: it must offer JSON (PEP 691). Wheels without metadata beside
them (PEP 658) are downloaded and read in memory. Builds that the index does not have, as that of torch without CUDA,
are taken from ``locks/builds.sha256``: lines of ``sha256sum``, written by who has the files.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from _venv import ROOT, SetupError, guarded, say
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.specifiers import SpecifierSet
from pip._vendor.packaging.tags import compatible_tags, cpython_tags
from pip._vendor.packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from pip._vendor.packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = ("cuda", "dicom", "onnx", "viewer")
LOCKS = ROOT / "locks"
BUILDS = LOCKS / "builds.sha256"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(35, 4, -1)] + ["manylinux2014_x86_64", "linux_x86_64"]
CUDA = ("cuda-", "nvidia-", "triton")
"""How the names of those packages begin that torch's default build for Linux needs, and its CPU build does not."""


class Index:
    """The package index that pip is set up for, asked through pip's own session (certificates, proxies, logins)."""

    def __init__(self, session: Any, url: str) -> None:
        self.session, self.url = session, url.rstrip("/")
        self.files = cache(self._files)
        self.requires = cache(self._requires)

    def _get(self, url: str, what: str, headers: dict[str, str] | None = None) -> Any:
        answer = self.session.get(url, headers=headers or {})
        if answer.status_code != 200:
            raise SetupError(f"{what}: the index of packages answers {answer.status_code}.")
        return answer

    def _metadata(self, file: dict[str, Any]) -> str:
        """Metadata of a wheel: what the index offers beside it, else out of the wheel, whose SHA-256 is compared."""
        beside = self.session.get(f"{file['url']}.metadata")
        if beside.status_code == 200:
            return beside.text
        content = self._get(file["url"], file["filename"]).content
        if hashlib.sha256(content).hexdigest() != file["hashes"]["sha256"]:
            raise SetupError(f"{file['filename']} is not the file that the index names: its SHA-256 differs.")
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            (name,) = [name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            return wheel.read(name).decode("utf-8")

    def _files(self, name: str) -> dict[Version, list[dict[str, Any]]]:
        """Wheels and source archives of a package, by version."""
        answer = self._get(f"{self.url}/{name}/", name, JSON)
        if "json" not in answer.headers.get("Content-Type", ""):
            raise SetupError("the index of packages offers no JSON (PEP 691): set pip up for one that does.")
        found: dict[Version, list[dict[str, Any]]] = {}
        for file in answer.json()["files"]:
            version = version_of(file["filename"])
            if version is not None:
                found.setdefault(version, []).append(file)
        return found

    def _requires(self, name: str, version: Version, python: str) -> tuple[Requirement, ...]:
        """What the wheel for one Python asks for.

        Raises:
            SetupError: there is no such wheel.
        """
        wheel = self.wheel(name, version, python)
        if wheel is None:
            raise SetupError(f"{name} {version} has no wheel for Python {python} on Linux x86-64: pin another version.")
        header = self._metadata(wheel).replace("\r\n", "\n").partition("\n\n")[0]
        lines = [line for line in header.splitlines() if line.startswith("Requires-Dist:")]
        return tuple(Requirement(line.partition(":")[2].strip()) for line in lines)

    def wheel(self, name: str, version: Version, python: str) -> dict[str, Any] | None:
        """A wheel that one Python takes on Linux x86-64, or None."""
        wheels = [file for file in self.files(name).get(version, []) if file["filename"].endswith(".whl")]
        return next((file for file in wheels if parse_wheel_filename(file["filename"])[3] & tags_of(python)), None)

    def hashes(self, name: str, version: Version) -> set[str]:
        """SHA-256 of all files of a version.

        Raises:
            SetupError: it was withdrawn.
        """
        files = self.files(name)[version]
        if any(file.get("yanked") for file in files):
            raise SetupError(f"{name} {version} was withdrawn by its authors (yanked): pin another version.")
        return {file["hashes"]["sha256"] for file in files}


def builds(name: str, version: Version, python: str) -> dict[str, str]:
    """Wheels of a version without CUDA (``+cpu``) for one Python, from ``BUILDS``, and their SHA-256."""
    lines = BUILDS.read_text(encoding="utf-8").splitlines()
    found = {}
    for digest, _, wheel in (line.partition("  ") for line in lines):
        of, its, _, tags = parse_wheel_filename(wheel)
        if of == name and str(its) == f"{version}+cpu" and tags & tags_of(python):
            found[wheel] = digest
    return found


@cache
def tags_of(python: str) -> frozenset[Any]:
    """Tags of the wheels that CPython of a version takes on Linux x86-64."""
    version = (3, int(python.partition(".")[2]))
    general = compatible_tags(version, f"cp3{version[1]}", PLATFORMS)
    return frozenset([*cpython_tags(version, platforms=PLATFORMS), *general])


def version_of(filename: str) -> Version | None:
    """Version of a wheel or source archive by its name; None for any other file."""
    try:
        parse = parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename
        return parse(filename)[1]
    except ValueError:
        return None


def surroundings(python: str, extra: str = "") -> dict[str, str]:
    """What markers ask for: the newest CPython of a version on Linux x86-64."""
    return {
        "extra": extra,
        "implementation_name": "cpython",
        "implementation_version": f"{python}.99",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.99",
        "python_version": python,
        "sys_platform": "linux",
    }


def applies(requirement: Requirement, python: str, extras: Iterable[str] = ()) -> bool:
    """Whether a requirement counts for one Python, with extras of the package that asks."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate(surroundings(python, extra)) for extra in ("", *extras))


def pins(python: str) -> dict[str, Version]:
    """The versions that ``constraints.txt`` has for one Python."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    listed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        canonicalize_name(one.name): Version(next(iter(one.specifier)).version)
        for one in listed
        if applies(one, python)
    }


def wanted() -> dict[str, list[Requirement]]:
    """What ``pyproject.toml`` asks for: ``core``, with what a build of the package itself takes, and each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    core = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    extras = {extra: project["project"]["optional-dependencies"][extra] for extra in EXTRAS}
    return {part: [Requirement(text) for text in texts] for part, texts in {"core": core, **extras}.items()}


def is_cuda(requirement: Requirement) -> bool:
    """Whether a requirement is one of those that only a build of torch with CUDA has."""
    return canonicalize_name(requirement.name).startswith(CUDA)


def closure(
    index: Index, direct: Iterable[Requirement], python: str, pinned: dict[str, Version], cuda: bool = False
) -> dict[str, Version]:
    """All packages that requirements need, in their pinned versions.

    Args:
        cuda: whether the CUDA libraries count that torch asks for. They are not pinned: the newest that is allowed.

    Raises:
        SetupError: something is needed and not pinned, or the pin is not allowed; all such are named.
    """
    waiting = [one for one in direct if applies(one, python)]
    chosen: dict[str, Version] = {}
    seen: set[str] = set()
    wrong = []
    while waiting:
        requirement = waiting.pop(0)
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        name = canonicalize_name(requirement.name)
        version = chosen.get(name) or pinned.get(name)
        if version is None and cuda and name.startswith(CUDA):
            version = newest(index, name, requirement.specifier, python)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement} is needed for Python {python}, pinned is {version or 'nothing'}")
            continue
        chosen[name] = version
        asked = [one for one in index.requires(name, version, python) if applies(one, python, requirement.extras)]
        waiting += [one for one in asked if cuda or name != "torch" or not is_cuda(one)]
    if wrong:
        raise SetupError("\n  ".join(["constraints.txt is not complete:", *sorted(set(wrong))]))
    return chosen


def newest(index: Index, name: str, specifier: SpecifierSet, python: str) -> Version | None:
    """The newest version that a specifier allows, that was not withdrawn and has a wheel for one Python; or None."""
    there = [version for version, files in index.files(name).items() if not any(file.get("yanked") for file in files)]
    allowed = sorted(specifier.filter(there), reverse=True)
    return next((version for version in allowed if index.wheel(name, version, python)), None)


def lock_file(part: str, python: str) -> Path:
    """Where the lock of the core or of an extra lies."""
    ending = "" if part == "core" else f"-{part}"
    return LOCKS / f"requirements-py{python.replace('.', '')}{ending}.txt"


def written(part: str, python: str, packages: dict[str, set[str]]) -> str:
    """Text of a lock file: pins, and the SHA-256 of their files."""
    core, beside = (lock_file(one, python).name for one in ("core", "cuda" if part == "core" else part))
    titles = {
        "core": "What medssm-monai needs, beside the file -cuda or -cpu for the build of torch",
        "cpu": "The build of torch without CUDA, which not every index has",
        "cuda": "What the extra cuda of medssm-monai and the build of torch with CUDA add",
    }
    lines = [
        f"# {titles.get(part, f'What the extra {part} of medssm-monai adds')}.",
        f"# Python {python}, Linux x86-64, with the SHA-256 of all files; made by: python scripts/lock.py",
        "#",
        f"#   pip install --require-hashes -r locks/{core} -r locks/{beside}",
    ]
    for pin, sums in sorted(packages.items(), key=lambda entry: entry[0].partition("==")[0]):
        lines += " \\\n".join([pin, *(f"    --hash=sha256:{one}" for one in sorted(sums))]).splitlines()
    return "\n".join([*lines, ""])


def lock(index: Index, python: str) -> dict[Path, str]:
    """The lock files of one Python, and their texts."""
    asked, pinned = wanted(), pins(python)
    core = closure(index, asked["core"], python, pinned)
    parts = {"core": core}
    for extra in EXTRAS:
        cuda = extra == "cuda"
        needed = closure(index, [*asked[extra], *(asked["core"] if cuda else [])], python, pinned, cuda)
        parts[extra] = {name: version for name, version in needed.items() if name not in core}
    cpu = builds("torch", core["torch"], python)
    texts = {}
    for part, packages in parts.items():
        sums = {f"{name}=={version}": index.hashes(name, version) for name, version in packages.items()}
        if part == "core":
            sums[f"torch=={core['torch']}"] |= set(cpu.values())
        texts[lock_file(part, python)] = written(part, python, sums)
    if cpu:
        pin = f"torch=={core['torch']}+cpu"
        texts[lock_file("cpu", python)] = written("cpu", python, {pin: set(cpu.values())})
    return texts


@contextmanager
def pip_index() -> Iterator[Index]:
    """The index that pip's settings name.

    Raises:
        SetupError: a pip whose inside is another.
    """
    try:
        from pip._internal.commands import create_command

        command = create_command("download")
        options, _ = command.parse_args(["medssm-monai"])
        with command.main_context():
            session = command.get_default_session(options)
            yield Index(session, options.index_url)
    except (ImportError, AttributeError) as error:
        raise SetupError(f"this pip is not one that the script knows ({error}); try pip 23.2 to 26.") from error


def main(arguments: list[str] | None = None) -> None:
    """Ask for everything, then write the files and remove those that are none of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    with pip_index() as index:
        texts = {path: text for python in PYTHONS for path, text in lock(index, python).items()}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")
        say(f"{path.relative_to(ROOT).as_posix()}: {text.count('==')} packages, {text.count('--hash')} files")
    for path in set(LOCKS.glob("*.txt")) - set(texts):
        path.unlink()


if __name__ == "__main__":
    with guarded():
        main()
