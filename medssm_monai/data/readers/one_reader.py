"""Loading with one reader of MONAI, as its ``LoadImage`` does, which builds all that it knows."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from monai.config import DtypeLike, PathLike
from monai.data import ImageReader, MetaTensor
from monai.transforms import EnsureChannelFirst
from monai.transforms.io.array import switch_endianness
from monai.utils import ImageMetaKey, convert_to_dst_type

__all__ = ["load_by"]


def load_by(
    reader: ImageReader, path: PathLike, dtype: DtypeLike = None, ensure_channel_first: bool = False
) -> MetaTensor:
    """What ``LoadImage(dtype=..., ensure_channel_first=...)(path, reader=reader)`` gives.

    No other reader is built or tried: a damaged file is not passed on to readers that unpickle files, or that look for
    a decoder on a graphics card and warn that there is none.

    Args:
        reader: of MONAI, or one like them.
        path: a file, or the folder of a DICOM series.
        dtype: of the values; None keeps that of the file.
        ensure_channel_first: whether to bring the channels, or one channel, in front.

    Raises:
        Exception: whatever the reader raises.
    """
    file = str(Path(path).expanduser())
    values, meta = reader.get_data(reader.read((file,)))
    values = convert_to_dst_type(values, dst=values, dtype=dtype)[0]
    meta = switch_endianness(meta, "<")
    meta[ImageMetaKey.FILENAME_OR_OBJ] = file
    image = MetaTensor.ensure_torch_and_prune_meta(values, meta)
    return cast(MetaTensor, EnsureChannelFirst()(image, meta_dict=meta) if ensure_channel_first else image)
