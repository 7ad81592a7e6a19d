"""Transforms in MONAI's style for images, masks and volumes, array and dictionary versions."""

from __future__ import annotations

from .cutmix import AreaCutMix, AreaCutMixD, AreaCutMixd, AreaCutMixDict
from .load2d import LoadImage2D, LoadImage2DD, LoadImage2Dd, LoadImage2DDict
from .load_volume import LoadVolume, LoadVolumeD, LoadVolumed, LoadVolumeDict
from .meta import CopyMetaD, CopyMetad, CopyMetaDict
from .save2d import SaveSegmentation, SaveSegmentationD, SaveSegmentationd, SaveSegmentationDict
from .temperature import TemperatureScaleD, TemperatureScaled, TemperatureScaleDict

__all__ = [
    "AreaCutMix",
    "AreaCutMixD",
    "AreaCutMixDict",
    "AreaCutMixd",
    "CopyMetaD",
    "CopyMetaDict",
    "CopyMetad",
    "LoadImage2D",
    "LoadImage2DD",
    "LoadImage2DDict",
    "LoadImage2Dd",
    "LoadVolume",
    "LoadVolumeD",
    "LoadVolumeDict",
    "LoadVolumed",
    "SaveSegmentation",
    "SaveSegmentationD",
    "SaveSegmentationDict",
    "SaveSegmentationd",
    "TemperatureScaleD",
    "TemperatureScaleDict",
    "TemperatureScaled",
]
