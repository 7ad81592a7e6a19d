"""Pictures as Secondary Capture images: what has no image class of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .facts import ModelFacts
from .libraries import require_highdicom
from .writing import contributing, equipment, new_uid, reference

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["require_clean_pixels", "secondary_capture"]


def require_clean_pixels(headers: Sequence[Dataset]) -> None:
    """Raise where pixels that are to be written without the patient may name him.

    Raises:
        ValueError: a source states burned in annotation.
    """
    if any(str(header.get("BurnedInAnnotation") or "").upper() == "YES" for header in headers):
        raise ValueError(
            "the source states burned in annotation, which may name the patient: its pixels are not written without "
            "him; clean the image first, or write only what holds no pixels of it (segmentation, report)."
        )


def secondary_capture(
    pixels: np.ndarray,
    sources: Sequence[Dataset],
    about: ModelFacts,
    what: str,
    number: int,
    frames: Sequence[int] = (),
    instance: int = 1,
    series_uid: str | None = None,
    same_pixels: bool = False,
) -> Dataset:
    """A picture that was made from images.

    Args:
        pixels: ``(rows, columns)`` uint8 or uint16, or ``(rows, columns, 3)`` uint8, red, green, blue.
        sources: headers of the images; the first gives patient and study.
        about: the model.
        what: the picture shows, for descriptions.
        number: of the series.
        frames: of the one source, from 1, where it has several.
        instance: number within the series.
        series_uid: of the series that it belongs to; None makes one of its own.
        same_pixels: whether it has the pixels of the first source, one by one, and so their size.
    """
    highdicom = require_highdicom()
    first, color = sources[0], pixels.ndim == 3
    spacing = first.get("PixelSpacing") if same_pixels else None
    made: Any = highdicom.sc.SCImage(
        pixel_array=np.ascontiguousarray(pixels),
        photometric_interpretation="RGB" if color else "MONOCHROME2",
        bits_allocated=pixels.dtype.itemsize * 8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),  # replaced below: highdicom asks for one
        pixel_spacing=None if spacing is None else tuple(map(float, spacing)),
        study_instance_uid=first.StudyInstanceUID,
        patient_id=first.PatientID,
        patient_name=first.PatientName,
        patient_birth_date=first.PatientBirthDate,
        patient_sex=first.PatientSex,
        accession_number=first.AccessionNumber,
        study_id=first.StudyID,
        study_date=first.StudyDate or None,
        study_time=first.StudyTime or None,
        referring_physician_name=first.ReferringPhysicianName,
        series_instance_uid=series_uid or new_uid(),
        series_number=number,
        sop_instance_uid=new_uid(),
        instance_number=instance,
        specific_character_set="ISO_IR 192",
        contributing_equipment=contributing(about),
        **equipment(about, what),
    )
    made.copy_patient_and_study_information(first)
    made.PatientOrientation = first.get("PatientOrientation") if same_pixels else None
    made.Laterality = first.get("Laterality")
    made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    made.ConversionType = "WSD"
    made.DerivationDescription = f"{what} by {about.name}; {about.use}; weights {about.weights_sha256}"[:1024]
    made.SourceImageSequence = [reference(source, frames) for source in sources]
    made.BurnedInAnnotation = "YES" if str(first.get("BurnedInAnnotation") or "").upper() == "YES" else "NO"
    return made
