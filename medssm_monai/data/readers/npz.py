"""Images inside ``.npz`` files: addresses like ``breastmnist.npz/train_images/12``, read without pickle.

An address is a plain string that goes wherever a file name goes: through datalists, caches, loaders, metadata and the
predictions table, so that arrays and files share one transform chain.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from monai.config import PathLike

from ..errors import ImageReadError
from .intensity import full_range_of_type
from .limits import TooLargeError, check_memory, check_size, check_unpacked

__all__ = ["ARRAY", "NpzError", "npz_address", "npz_array", "npz_sample", "parse_npz_address"]

ARRAY = "array"
COLOR_CHANNELS = (1, 3, 4)


class NpzError(ImageReadError):
    """An ``.npz`` file, an entry or an index in it that cannot be read; the message names it and the remedy."""


def npz_address(file: PathLike, key: str, index: int) -> str:
    """``<file>/<key>/<index>``: the image number ``index`` of the array ``key``."""
    return f"{Path(file).as_posix()}/{key}/{index}"


def parse_npz_address(path: PathLike) -> tuple[Path, str, int] | None:
    """File, key and index of an address; None for any other path."""
    path = Path(path)
    if path.parent.parent.suffix.lower() != ".npz" or not path.name.isdecimal():
        return None
    return path.parent.parent, path.parent.name, int(path.name)


def npz_array(file: PathLike, key: str) -> np.ndarray:
    """One array of the file, read-only; kept in memory, so that its images can be asked for one by one.

    Raises:
        FileNotFoundError: no such file.
        NpzError: no ``.npz`` file, a damaged one, a missing key, or pickled objects (never unpickled).
        TooLargeError: images above the limit of pixels, or an array larger than the memory; nothing is decoded.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such .npz file; check the path or the datalist it comes from.")
    return _cached(file, key, file.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _cached(file: Path, key: str, _changed: int) -> np.ndarray:
    try:
        with np.load(file, allow_pickle=False) as content:
            if key not in content.files:
                raise NpzError(
                    f"{file}: has no array {key!r}, only {content.files}; check that this is the right file."
                )
            _check_header(file, key, content.zip)
            array = content[key]
    except (NpzError, TooLargeError):
        raise
    except ValueError as error:
        if "pickle" not in str(error).lower():
            raise NpzError(f"{file}: {key!r} cannot be decoded ({error}); copy or export it again.") from error
        raise NpzError(
            f"{file}: {key!r} holds pickled objects, which could run code and are refused; save it as a plain number "
            "array."
        ) from error
    except (OSError, zipfile.BadZipFile, EOFError, KeyError, AttributeError, zlib.error) as error:
        raise NpzError(f"{file}: truncated, damaged or no .npz file ({error}); copy or fetch it again.") from error
    array.flags.writeable = False
    return array


def _check_header(file: Path, key: str, archive: zipfile.ZipFile) -> None:
    """Refuse, by its header, an array of images above the limit of pixels or larger than the memory."""
    member = archive.getinfo(key if key in archive.namelist() else f"{key}.npy")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    name = f"{file}: {key!r}"
    if len(shape) >= 3:
        colors = has_channels(shape)
        sides = shape[1:-1] if colors else shape[1:]
        check_size(name, sides, 3 if len(sides) > 2 else 2, shape[-1] if colors else 1, dtype.itemsize)
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    check_memory(name, size)
    check_unpacked(name, size, member.compress_size)


def has_channels(shape: Sequence[int]) -> bool:
    """Whether the last axis of an image array ``(N, spatial..., [C])`` holds colors: five axes, or a last axis of 1, 3
    or 4 behind two spatial ones."""
    return len(shape) == 5 or (len(shape) == 4 and shape[-1] in COLOR_CHANNELS)


def npz_sample(file: PathLike, key: str, index: int) -> tuple[np.ndarray, float | None]:
    """Image ``(spatial..., C)`` float32 with C = 1 or 3 (alpha is dropped), and the value that stands for 1.0.

    That value is 255, 65535 or 1 for 8-bit, 16-bit and boolean arrays, None for others.

    Raises:
        FileNotFoundError: no such file.
        NpzError: see :func:`npz_array`; an index beyond the array; numbers of no known image shape.
    """
    array = npz_array(file, key)
    if index >= len(array):
        raise NpzError(f"{file}: {key!r} holds {len(array)} images, number {index} was asked for.")
    if array.ndim not in (3, 4, 5) or array.dtype.kind not in "buif":
        raise NpzError(
            f"{file}: {key!r} is {array.dtype} of shape {array.shape}; expected numbers (N, H, W), (N, H, W, channels) "
            "or (N, D, H, W)."
        )
    image = array[index] if has_channels(array.shape) else array[index][..., None]
    return image[..., :3].astype(np.float32), full_range_of_type(array.dtype)
