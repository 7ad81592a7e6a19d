"""Transforms in MONAI's style for images, masks and volumes, array and dictionary versions."""

from __future__ import annotations

from .colour import (
    ExtractLuminanceD,
    ExtractLuminanced,
    ExtractLuminanceDict,
    RecombineColourD,
    RecombineColourd,
    RecombineColourDict,
    RGBToYCbCr,
    YCbCrToRGB,
)
from .colour_jitter import RandColourJitter, RandColourJitterD, RandColourJitterd, RandColourJitterDict
from .cutmix import AreaCutMix, AreaCutMixD, AreaCutMixd, AreaCutMixDict
from .load2d import LoadImage2D, LoadImage2DD, LoadImage2Dd, LoadImage2DDict
from .load_volume import LoadVolume, LoadVolumeD, LoadVolumed, LoadVolumeDict
from .meta import CopyMetaD, CopyMetad, CopyMetaDict
from .pair_geometry import MatchPairD, MatchPaird, MatchPairDict
from .perspective import RandPerspective, RandPerspectiveD, RandPerspectived, RandPerspectiveDict
from .prepare_batch import PrepareBatchTransform
from .resize import LargeResize, LargeResizeD, LargeResized, LargeResizeDict
from .save2d import SaveSegmentation, SaveSegmentationD, SaveSegmentationd, SaveSegmentationDict
from .save_fused import SaveFused, SaveFusedD, SaveFusedd, SaveFusedDict
from .temperature import TemperatureScaleD, TemperatureScaled, TemperatureScaleDict

__all__ = [
    "AreaCutMix",
    "AreaCutMixD",
    "AreaCutMixDict",
    "AreaCutMixd",
    "CopyMetaD",
    "CopyMetaDict",
    "CopyMetad",
    "ExtractLuminanceD",
    "ExtractLuminanceDict",
    "ExtractLuminanced",
    "LargeResize",
    "LargeResizeD",
    "LargeResizeDict",
    "LargeResized",
    "LoadImage2D",
    "LoadImage2DD",
    "LoadImage2DDict",
    "LoadImage2Dd",
    "LoadVolume",
    "LoadVolumeD",
    "LoadVolumeDict",
    "LoadVolumed",
    "MatchPairD",
    "MatchPairDict",
    "MatchPaird",
    "PrepareBatchTransform",
    "RGBToYCbCr",
    "RandColourJitter",
    "RandColourJitterD",
    "RandColourJitterDict",
    "RandColourJitterd",
    "RandPerspective",
    "RandPerspectiveD",
    "RandPerspectiveDict",
    "RandPerspectived",
    "RecombineColourD",
    "RecombineColourDict",
    "RecombineColourd",
    "SaveFused",
    "SaveFusedD",
    "SaveFusedDict",
    "SaveFusedd",
    "SaveSegmentation",
    "SaveSegmentationD",
    "SaveSegmentationDict",
    "SaveSegmentationd",
    "TemperatureScaleD",
    "TemperatureScaleDict",
    "TemperatureScaled",
    "YCbCrToRGB",
]
