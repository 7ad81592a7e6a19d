"""Images whose channels lie in files of their own, told by the ends of their names: nnU-Net's numbers (``a_0000``) or
names (``a_t1``, ``a-t1``)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import Problem
from ..readers.files import file_stem, natural_key

__all__ = ["Cases", "channel_of", "named_cases", "numbered_cases", "single_cases"]

Cases = dict[str, list[Path]]
"""Names of images and their files: one, or one for each channel in order."""
NUMBER = re.compile(r"(.+)_(\d{4})")
SEPARATORS = "_-"


def single_cases(files: Sequence[Path], problems: list[Problem]) -> Cases:
    """Each file an image."""
    found: Cases = {}
    for path in files:
        name = file_stem(path)
        if name in found:
            problems.append(Problem("two files with one name", str(path), f"also {found[name][0].name}"))
        else:
            found[name] = [path]
    return found


def numbered_cases(
    files: Sequence[Path], channel_names: Sequence[str] | None, problems: list[Problem], where: Path
) -> Cases:
    """Images of files that are called as nnU-Net does: ``<name>_0000`` and so on.

    Where every image has ``_0000`` alone, that file may hold several channels, as color pictures do.

    Args:
        files: all files of a folder.
        channel_names: how many channels there are; None takes the numbers that are there.
        problems: gets files without a number, and for each image the numbers that are missing or too many.
        where: the folder, for these.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in files:
        match = NUMBER.fullmatch(file_stem(path))
        if match is None:
            problems.append(Problem("file without channel number", str(path)))
        else:
            _add(found.setdefault(match[1], {}), match[2], path, problems)
    there = sorted({number for numbers in found.values() for number in numbers})
    count = (
        len(channel_names) if channel_names is not None and there != ["0000"] else int(there[-1]) + 1 if there else 0
    )
    expected = {f"{number:04d}": f"_{number:04d}" for number in range(count)}
    if channel_names is not None and there != ["0000"]:
        expected = {key: f"{ending} ({channel_names[int(key)]})" for key, ending in expected.items()}
    return _complete(found, expected, problems, where)


def channel_of(stem: str, channel_names: Sequence[str]) -> tuple[str, str] | None:
    """Name of the image and of the channel that a file's stem ends in, upper or lower case; None where it does not."""
    for channel in sorted(channel_names, key=len, reverse=True):
        cut = len(stem) - len(channel) - 1
        if cut > 0 and stem[cut] in SEPARATORS and stem[cut + 1 :].lower() == channel.lower():
            return stem[:cut], channel
    return None


def named_cases(
    files: Sequence[Path], channel_names: Sequence[str], problems: list[Problem], where: Path, optional: bool = False
) -> Cases:
    """Images of files that end in the names of channels, ``<name>_t1`` or ``<name>-t1``.

    Args:
        files: of a folder.
        channel_names: in order.
        problems: gets for each image the channels that are missing.
        where: the folder, for these.
        optional: where no file ends in a channel, each file is one image; otherwise other files are a problem.
    """
    told = {path: channel_of(file_stem(path), channel_names) for path in files}
    if optional and not any(told.values()):
        return single_cases(files, problems)
    found: dict[str, dict[str, Path]] = {}
    for path, channel in told.items():
        if channel is None:
            problems.append(Problem("file of no channel", str(path), f"channels {', '.join(channel_names)}"))
        else:
            _add(found.setdefault(channel[0], {}), channel[1], path, problems)
    return _complete(found, {name: name for name in channel_names}, problems, where)


def _add(channels: dict[str, Path], channel: str, path: Path, problems: list[Problem]) -> None:
    if channel in channels:
        problems.append(Problem("two files with one name", str(path), f"also {channels[channel].name}"))
    else:
        channels[channel] = path


def _complete(
    found: Mapping[str, Mapping[str, Path]], expected: Mapping[str, str], problems: list[Problem], where: Path
) -> Cases:
    """Images that have every channel; the others become problems."""
    cases: Cases = {}
    for name in sorted(found, key=natural_key):
        channels = found[name]
        missing = [shown for channel, shown in expected.items() if channel not in channels]
        extra = [path.name for channel, path in channels.items() if channel not in expected]
        if missing:
            problems.append(Problem("missing channels", str(where / name), f"no {', '.join(missing)}"))
        if extra:
            problems.append(Problem("more channels than named", str(where / name), ", ".join(extra)))
        if not missing and not extra:
            cases[name] = [channels[channel] for channel in expected]
    return cases
