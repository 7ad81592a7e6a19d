"""Codes of what segments show: SNOMED CT for common names, what settings say for others."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.coded import CODED_FORM, wrong_segments

__all__ = ["KNOWN", "SegmentCode", "segment_codes"]

logger = logging.getLogger(__name__)
Coded = tuple[str, str, str]  # value, scheme, meaning
ABNORMAL, ANATOMY, TISSUE = "MorphologicallyAbnormalStructure", "AnatomicalStructure", "Tissue"
FLUID = "BodySubstance"
# Keywords of pydicom's dictionary of SNOMED CT (NCIt where it says so), of context groups 7150 and 7151.
KNOWN: dict[str, tuple[str, str]] = {
    "lesion": (ABNORMAL, "Lesion"),
    "skin lesion": (ABNORMAL, "Lesion"),
    "brain lesion": (ABNORMAL, "LesionOfBrain"),
    "polyp": (ABNORMAL, "Lesion"),
    "colon polyp": (ABNORMAL, "PolypOfColon"),
    "tumor": (ABNORMAL, "Neoplasm"),
    "tumour": (ABNORMAL, "Neoplasm"),
    "neoplasm": (ABNORMAL, "Neoplasm"),
    "liver tumor": (ABNORMAL, "Neoplasm"),
    "kidney tumor": (ABNORMAL, "Neoplasm"),
    "whole tumor": (ABNORMAL, "Neoplasm"),
    "tumor core": (ABNORMAL, "Neoplasm"),
    "enhancing tumor": (ABNORMAL, "NCIt.EnhancingLesion"),
    "non enhancing tumor": (ABNORMAL, "NCIt.NonEnhancingLesion"),
    "edema": (ABNORMAL, "Edema"),
    "peritumoral edema": (ABNORMAL, "Edema"),
    "necrosis": (ABNORMAL, "Necrosis"),
    "necrotic core": (ABNORMAL, "Necrosis"),
    "mass": (ABNORMAL, "Mass"),
    "nodule": (ABNORMAL, "Nodule"),
    "cyst": (ABNORMAL, "Cyst"),
    "hemorrhage": (ABNORMAL, "Hemorrhage"),
    "metastasis": (ABNORMAL, "NeoplasmSecondary"),
    "abscess": (ABNORMAL, "Abscess"),
    "gray matter": (TISSUE, "GrayMatter"),
    "grey matter": (TISSUE, "GrayMatter"),
    "white matter": (TISSUE, "WhiteMatter"),
    "cerebrospinal fluid": (FLUID, "CerebrospinalFluid"),
    "csf": (FLUID, "CerebrospinalFluid"),
    "skin": (TISSUE, "Skin"),
    "bone": (TISSUE, "BoneTissue"),
    "fat": (TISSUE, "AdiposeTissue"),
    "muscle": (TISSUE, "MuscleTissue"),
    "brain": (ANATOMY, "Brain"),
    "hippocampus": (ANATOMY, "Hippocampus"),
    "liver": (ANATOMY, "Liver"),
    "spleen": (ANATOMY, "Spleen"),
    "kidney": (ANATOMY, "Kidney"),
    "pancreas": (ANATOMY, "Pancreas"),
    "stomach": (ANATOMY, "Stomach"),
    "gallbladder": (ANATOMY, "Gallbladder"),
    "esophagus": (ANATOMY, "Esophagus"),
    "duodenum": (ANATOMY, "Duodenum"),
    "colon": (ANATOMY, "Colon"),
    "adrenal gland": (ANATOMY, "AdrenalGland"),
    "bladder": (ANATOMY, "Bladder"),
    "prostate": (ANATOMY, "Prostate"),
    "lung": (ANATOMY, "Lung"),
    "heart": (ANATOMY, "Heart"),
    "left ventricle": (ANATOMY, "LeftVentricle"),
    "right ventricle": (ANATOMY, "RightVentricle"),
    "aorta": (ANATOMY, "Aorta"),
    "inferior vena cava": (ANATOMY, "InferiorVenaCava"),
    "vertebra": (ANATOMY, "Vertebra"),
}


@dataclass(frozen=True)
class SegmentCode:
    """What a segment shows.

    Attributes:
        category: value, scheme and meaning of the kind of thing, such as an anatomical structure.
        type: of the thing itself, such as the liver.
        anatomy: of the place that it lies in; None where none is given.
        side: left or right; None where the name does not say it.
    """

    category: Coded
    type: Coded
    anatomy: Coded | None = None
    side: Coded | None = None


def segment_codes(names: Sequence[str], segments: Mapping[str, Any] | None = None) -> dict[str, SegmentCode]:
    """The code of each class.

    Args:
        names: of the classes.
        segments: for some or all of them ``{name: {"category": [value, scheme, meaning], "type": [...], "anatomy":
            [...]}}``, the last optional. Others have those of :data:`KNOWN`; a name that is not there either becomes a
            morphologically abnormal structure, a tissue, with a warning.

    Raises:
        ValueError: names that are no class, or codes of another form; all of them at once.
    """
    given = dict(segments or {})
    problems = wrong_segments(given, names)
    if problems:
        raise ValueError(f"segments: {'; '.join(problems)}; expected of {', '.join(names)}, {CODED_FORM}.")
    return {name: _given(given[name]) if name in given else _known(name) for name in names}


def _given(code: Mapping[str, Any]) -> SegmentCode:
    found = {key: (str(v[0]), str(v[1]), str(v[2])) for key, v in code.items()}
    return SegmentCode(found["category"], found["type"], found.get("anatomy"))


def _known(name: str) -> SegmentCode:
    plain = re.sub(r"[\s_-]+", " ", name).strip().lower()
    side = re.fullmatch(r"(left|right) (.+)", plain)
    if plain in KNOWN:
        side = None  # a ventricle is another thing than its side
    category, kind = KNOWN.get(side[2] if side else plain, (ABNORMAL, TISSUE))
    if (category, kind) == (ABNORMAL, TISSUE):
        logger.warning(
            "no code is known for the class %r: its segment is coded as a tissue, a morphologically abnormal "
            "structure; give its codes with segments",
            name,
        )
        side = None
    return SegmentCode(_coded(category), _coded(kind), side=_coded(side[1].capitalize()) if side else None)


def _coded(keyword: str) -> Coded:
    from pydicom.sr.codedict import codes

    scheme, _, word = keyword.rpartition(".")
    code = getattr(getattr(codes, scheme or "SCT"), word)
    return code.value, code.scheme_designator, code.meaning
