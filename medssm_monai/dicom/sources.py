"""What objects take from the images that they are about: patient, study, place and references, and nothing else."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.studies.headers import is_uid
from .deidentify import Deidentifier

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

    from ..data.studies.series import Instance, Series

__all__ = ["FUNCTIONAL", "NAMES", "picture_of", "share_groups", "source_header", "source_headers"]

logger = logging.getLogger(__name__)
REQUIRED = (  # may be empty, must be there (type 2)
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
PATIENT_AND_STUDY = (
    *("IssuerOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("StudyInstanceUID", "StudyDescription", "PatientAge", "PatientSize", "PatientWeight"),
)
IMAGE = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "InstanceNumber", "NumberOfFrames"),
    *("Rows", "Columns", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "FrameOfReferenceUID"),
    *("PositionReferenceIndicator", "ImagePositionPatient", "ImageOrientationPatient", "PatientOrientation"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod", "BurnedInAnnotation"),
    *("Manufacturer", "ManufacturerModelName", "BodyPartExamined", "Laterality", "ImageLaterality", "PatientPosition"),
)
GROUPS = {  # of functional groups: where a frame lies
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
}
METHOD_CODES = "DeidentificationMethodCodeSequence"
FUNCTIONAL = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
NAMES = ("PatientName", "ReferringPhysicianName")
SEXES = ("M", "F", "O")
FRAME_ADDRESS = re.compile(r"(.+)/frames/(\d+)", re.DOTALL)


def source_headers(instances: Iterable[Instance], deidentify: Deidentifier | None = None) -> list[Dataset]:
    """:func:`source_header` of each instance."""
    found = [_header(instance.header, deidentify) for instance in instances]
    _warn({keyword for _, wrong in found for keyword in wrong})
    return [header for header, _ in found]


def source_header(header: Dataset, deidentify: Deidentifier | None = None) -> Dataset:
    """A header that holds what may be copied into results, texts in UTF-8.

    Values that break the rules of their kind are left out, with a warning that does not repeat them.

    Args:
        header: of an image.
        deidentify: takes the patient out of it.
    """
    found, wrong = _header(header, deidentify)
    _warn(wrong)
    return found


def _warn(wrong: set[str]) -> None:
    if wrong:
        logger.warning(
            "the images have values that DICOM does not allow; results are written without them: %s",
            ", ".join(sorted(wrong)),
        )


def _header(header: Dataset, deidentify: Deidentifier | None) -> tuple[Dataset, set[str]]:
    """The header, and keywords of what was left out."""
    from pydicom import Dataset
    from pydicom.config import disable_value_validation

    found = Dataset()
    with disable_value_validation():  # its warnings repeat the values
        wrong = _copy(header, found, (*REQUIRED, *PATIENT_AND_STUDY, *IMAGE))
        if METHOD_CODES in header:
            setattr(found, METHOD_CODES, [_code(item) for item in header[METHOD_CODES].value])
        for keyword in FUNCTIONAL:
            if keyword in header:
                setattr(found, keyword, [_place(item) for item in header[keyword].value])
    for keyword in REQUIRED:
        if keyword not in found or found[keyword].value is None:
            setattr(found, keyword, "")
    for keyword in NAMES:
        name = str(found[keyword].value)
        if name and "^" not in name:
            setattr(found, keyword, f"{name}^")  # else highdicom warns, and repeats the name
    if "PixelSpacing" in found and not min(found.PixelSpacing or [0]) > 0:
        del found.PixelSpacing
    if "ImagePositionPatient" in found and "SliceThickness" not in found:
        found.SliceThickness = found.get("SpacingBetweenSlices")
    if found.PatientSex not in SEXES:
        found.PatientSex = ""
    found.SpecificCharacterSet = "ISO_IR 192"
    if deidentify is not None:
        deidentify.header(found)
    return found, wrong


def _code(item: Dataset) -> Dataset:
    from pydicom import Dataset

    found = Dataset()
    _copy(item, found, ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))
    return found


def _place(group: Dataset) -> Dataset:
    from pydicom import Dataset

    found = Dataset()
    for name, keywords in GROUPS.items():
        if name in group and len(group[name].value):
            item = Dataset()
            _copy(group[name].value[0], item, keywords)
            setattr(found, name, [item])
    return found


def _copy(header: Dataset, found: Dataset, keywords: Iterable[str]) -> set[str]:
    """Copy what is right; the keywords of what is not."""
    wrong = set()
    for keyword in keywords:
        if keyword in header:
            try:
                setattr(found, keyword, _checked(header[keyword]))
            except (ValueError, TypeError, OverflowError):
                wrong.add(keyword)
    return wrong


def _checked(element: DataElement) -> Any:
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VM
    from pydicom.valuerep import DS, validate_value

    value = element.value
    if value is None or element.is_empty:
        return None
    several = element.VM > 1
    values = list(value) if several else [value]
    if several and dictionary_VM(element.tag) == "1":
        raise ValueError("several values of an element that has one")
    if element.VR == "DS":
        values = [DS(float(one), auto_format=True) for one in values]
    elif element.VR == "IS":
        values = [int(one) for one in values]
    elif element.VR == "UI":  # as it is, or nothing would be found under it
        if not all(is_uid(str(one)) for one in values):
            raise ValueError("no UID")
    else:
        values = [str(one) if element.VR == "PN" else one for one in values]
        for one in values:
            validate_value(element.VR, one, RAISE)
            if any(unicodedata.category(sign) == "Cc" for sign in str(one)):
                raise ValueError("control characters")
    return values if several else values[0]


def share_groups(header: Dataset, frames: Sequence[int]) -> None:
    """Move what the frames of a volume have in common, as many makers repeat it in each frame, to the shared groups.

    Args:
        header: of an image of several frames.
        frames: those of the volume, from 0.
    """
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if shared is None or not groups:
        return
    for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        own = [groups[frame][name].value[0] for frame in frames if name in groups[frame]]
        if name not in shared and len(own) == len(frames):
            setattr(shared, name, [own[0]])


def picture_of(series: Series, source: str) -> tuple[Instance, int | None]:
    """The instance that a prediction of one picture belongs to, and the frame of one that has several, from 1.

    Args:
        series: of pictures.
        source: file that was predicted, or the address of a frame (``cine.dcm/frames/3``, from 0).

    Raises:
        ValueError: no picture of the series.
    """
    known = series.by_file
    address = None if str(source) in known else FRAME_ADDRESS.fullmatch(str(source))
    file = address[1] if address else str(source)
    if file in known:
        found = [known[file]]
    else:  # another way to the same file
        wanted = Path(file).resolve()
        found = [instance for instance in series.instances if Path(instance.path).resolve() == wanted]
    if not found and len(series.instances) == 1:
        found = list(series.instances)
    if not found:
        raise ValueError(
            f"the prediction is of no picture of its series, which has {len(series.instances)}; predict one of its "
            "files, or give the series that the file belongs to."
        )
    if found[0].frames == 1:
        return found[0], None
    frame = int(address[2]) + 1 if address else 0
    if not 1 <= frame <= found[0].frames:
        raise ValueError(
            f"the picture has {found[0].frames} frames, and the prediction does not say of which it is; predict "
            "FILE/frames/NUMBER, from 0."
        )
    return found[0], frame
