"""What all objects have in common: new identifiers, the model as their maker, and files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.files import replace_file, writable_folder
from .deidentify import Deidentifier
from .facts import MANUFACTURER, ModelFacts
from .libraries import require_highdicom
from .sources import NAMES

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["contributing", "equipment", "new_series", "new_uid", "reference", "save_object"]


def new_uid() -> str:
    """A unique identifier that nothing else has."""
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))


def new_series(number: int) -> dict[str, Any]:
    """Identifiers of one object in a series of its own, as highdicom's classes take them."""
    return {
        "series_instance_uid": new_uid(),
        "series_number": number,
        "sop_instance_uid": new_uid(),
        "instance_number": 1,
    }


def equipment(about: ModelFacts, what: str) -> dict[str, Any]:
    """The model as the equipment that made an object, as highdicom's classes take it; ``what`` the series holds."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": about.name[:64],
        "software_versions": about.software,
        "device_serial_number": about.serial,
        "series_description": about.series(what),
    }


def contributing(about: ModelFacts) -> list[Any]:
    """The model as equipment that processed images."""
    require_highdicom()
    from highdicom.base_content import ContributingEquipment
    from pydicom.sr.codedict import codes

    item = ContributingEquipment(
        manufacturer=MANUFACTURER,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=about.name[:64],
        software_versions=about.software,
        device_serial_number=about.serial,
        contribution_description=f"{about.use}; weights {about.serial}; trained for {about.trained_for}"[:1024],
    )
    return [item]


def reference(header: Dataset, frames: Sequence[int] = ()) -> Dataset:
    """A reference to an image, or to some of its frames (from 1), that it was made from."""
    from pydicom import Dataset
    from pydicom.sr.codedict import codes

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    if frames:
        item.ReferencedFrameNumber = list(frames)
    purpose = Dataset()
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code[:3]
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def save_object(made: Dataset, folder: str | os.PathLike[str], kind: str, deidentify: Deidentifier | None) -> Path:
    """Write an object as ``<kind>_<its identifier>.dcm``, whole or not at all.

    Raises:
        PermissionError: the folder cannot be written into.
        DiskFullError: it does not fit.
    """
    for keyword in NAMES:
        if keyword in made:
            setattr(made, keyword, str(made[keyword].value).rstrip("^"))  # empty parts at the end mean nothing
    if deidentify is not None:
        deidentify.finish(made)
    writable_folder(folder)
    target = Path(folder) / f"{kind}_{made.SOPInstanceUID}.dcm"
    with replace_file(target) as part:
        made.save_as(part, enforce_file_format=True)
    return target
