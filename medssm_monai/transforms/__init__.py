"""Transforms in MONAI's style for images, masks and volumes, array and dictionary versions."""

from __future__ import annotations

from .channel_first import ToChannelFirst, ToChannelFirstD, ToChannelFirstd, ToChannelFirstDict
from .color import (
    ExtractLuminanceD,
    ExtractLuminanced,
    ExtractLuminanceDict,
    RecombineColorD,
    RecombineColord,
    RecombineColorDict,
    RGBToYCbCr,
    YCbCrToRGB,
)
from .color_jitter import RandColorJitter, RandColorJitterD, RandColorJitterd, RandColorJitterDict
from .corrupt import Corrupt, CorruptD, Corruptd, CorruptDict
from .cutmix import AreaCutMix, AreaCutMixD, AreaCutMixd, AreaCutMixDict
from .load import (
    LoadImage2D,
    LoadImage2DD,
    LoadImage2Dd,
    LoadImage2DDict,
    LoadImage3D,
    LoadImage3DD,
    LoadImage3Dd,
    LoadImage3DDict,
)
from .load_labels import LoadLabels, LoadLabelsD, LoadLabelsd, LoadLabelsDict
from .load_volume import LoadVolume, LoadVolumeD, LoadVolumed, LoadVolumeDict
from .meta import CopyMetaD, CopyMetad, CopyMetaDict
from .normalize_channels import NormalizeChannels, NormalizeChannelsD, NormalizeChannelsd, NormalizeChannelsDict
from .not_empty import not_empty
from .pair_geometry import MatchPairD, MatchPaird, MatchPairDict
from .perspective import RandPerspective, RandPerspectiveD, RandPerspectived, RandPerspectiveDict
from .prepare_batch import PrepareBatchTransform
from .resize import LargeResize, LargeResizeD, LargeResized, LargeResizeDict
from .save_fused import SaveImageFused, SaveImageFusedD, SaveImageFusedd, SaveImageFusedDict
from .save_segmentation import SaveImage2D, SaveImage2DD, SaveImage2Dd, SaveImage2DDict
from .split_pair import SplitPairD, SplitPaird, SplitPairDict
from .temperature import TemperatureScaleD, TemperatureScaled, TemperatureScaleDict
from .unit_range import ToUnitRange, ToUnitRangeD, ToUnitRanged, ToUnitRangeDict
from .unlike_training import FlagUnlikeTrainingD, FlagUnlikeTrainingd, FlagUnlikeTrainingDict

__all__ = [
    "AreaCutMix",
    "AreaCutMixD",
    "AreaCutMixDict",
    "AreaCutMixd",
    "CopyMetaD",
    "CopyMetaDict",
    "CopyMetad",
    "Corrupt",
    "CorruptD",
    "CorruptDict",
    "Corruptd",
    "ExtractLuminanceD",
    "ExtractLuminanceDict",
    "ExtractLuminanced",
    "FlagUnlikeTrainingD",
    "FlagUnlikeTrainingDict",
    "FlagUnlikeTrainingd",
    "LargeResize",
    "LargeResizeD",
    "LargeResizeDict",
    "LargeResized",
    "LoadImage2D",
    "LoadImage2DD",
    "LoadImage2DDict",
    "LoadImage2Dd",
    "LoadImage3D",
    "LoadImage3DD",
    "LoadImage3DDict",
    "LoadImage3Dd",
    "LoadLabels",
    "LoadLabelsD",
    "LoadLabelsDict",
    "LoadLabelsd",
    "LoadVolume",
    "LoadVolumeD",
    "LoadVolumeDict",
    "LoadVolumed",
    "MatchPairD",
    "MatchPairDict",
    "MatchPaird",
    "NormalizeChannels",
    "NormalizeChannelsD",
    "NormalizeChannelsDict",
    "NormalizeChannelsd",
    "PrepareBatchTransform",
    "RGBToYCbCr",
    "RandColorJitter",
    "RandColorJitterD",
    "RandColorJitterDict",
    "RandColorJitterd",
    "RandPerspective",
    "RandPerspectiveD",
    "RandPerspectiveDict",
    "RandPerspectived",
    "RecombineColorD",
    "RecombineColorDict",
    "RecombineColord",
    "SaveImage2D",
    "SaveImage2DD",
    "SaveImage2DDict",
    "SaveImage2Dd",
    "SaveImageFused",
    "SaveImageFusedD",
    "SaveImageFusedDict",
    "SaveImageFusedd",
    "SplitPairD",
    "SplitPairDict",
    "SplitPaird",
    "TemperatureScaleD",
    "TemperatureScaleDict",
    "TemperatureScaled",
    "ToChannelFirst",
    "ToChannelFirstD",
    "ToChannelFirstDict",
    "ToChannelFirstd",
    "ToUnitRange",
    "ToUnitRangeD",
    "ToUnitRangeDict",
    "ToUnitRanged",
    "YCbCrToRGB",
    "not_empty",
]
