"""Names of results after the files they belong to, never two of one name."""

from __future__ import annotations

import logging
from pathlib import Path

from ..data.readers.files import file_stem
from ..utils.shown_names import shown_name
from ..utils.text_files import printable

__all__ = ["ResultNames"]

logger = logging.getLogger(__name__)


class ResultNames:
    """Give each input the path of its result, ``<stem><suffix>``.

    Two inputs with one stem never get the same path: the second becomes ``<parent folder>_<stem>``, with a number where
    that is taken too, and a warning. An input that comes again gets its own path again; what lies on the disk from
    earlier runs does not count.
    """

    def __init__(self) -> None:
        self._taken: dict[Path, str] = {}  # result -> its input

    def __call__(self, source: str, folder: Path, suffix: str) -> Path:
        """Path in ``folder`` for the result of ``source``."""
        path, stem = Path(source), file_stem(Path(source))
        names = [stem, f"{path.absolute().parent.name}_{stem}"]
        names += [f"{names[1]}_{number}" for number in range(2, len(self._taken) + 3)]
        targets = (folder / f"{name}{suffix}" for name in names)
        target = next(one for one in targets if self._taken.get(one, source) == source)
        if target.name != f"{stem}{suffix}":
            message = f"{shown_name(source)}: {stem}{suffix} belongs to another input, saved as {target.name}"
            logger.warning("%s", printable(message))
        self._taken[target] = source
        return target
