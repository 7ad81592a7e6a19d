"""DICOM archives of known arrays: series, pictures, segmentations by highdicom, structure sets by pydicom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .objects import image, save, turned

__all__ = ["OBLIQUE", "SPACING", "picture", "segmentation", "series", "structure_set"]

OBLIQUE = turned(25)
SPACING = (3.0, 0.8, 1.25)  # between slices, rows, columns


def series(
    folder: Path,
    values: np.ndarray,
    patient: str = "ID-4711",
    orientation: np.ndarray = OBLIQUE,
    spacing: Sequence[float] = SPACING,
    flipped: bool = False,
    **more: Any,
) -> list[Any]:
    """Write a volume ``(X, Y, Z)`` as MR slices, Z along their normal.

    Args:
        flipped: names and instance numbers run against the normal.

    Returns:
        the data sets, along the normal.
    """
    from pydicom.uid import generate_uid

    study, own, place = generate_uid(), generate_uid(), generate_uid()
    normal = np.cross(orientation[0], orientation[1])
    made = []
    for number, plane in enumerate(np.moveaxis(values, -1, 0)):
        position = np.array([-20.0, 15.0, 7.0]) + normal * spacing[0] * number
        facts = {
            "PatientID": patient,
            "PatientName": f"Nobody^{patient}",
            "ImagePositionPatient": [f"{v:.6f}" for v in position],
            "ImageOrientationPatient": [f"{v:.8f}" for v in orientation.ravel()],
            "PixelSpacing": [str(spacing[1]), str(spacing[2])],
            "SliceThickness": str(spacing[0]),
            "FrameOfReferenceUID": place,
            "PositionReferenceIndicator": "",
            "SeriesDescription": "t1",
            "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        }
        index = values.shape[-1] - number if flipped else number + 1
        one = image("MR", np.ascontiguousarray(plane.T.astype(np.uint16)), index, study, own, **{**facts, **more})
        save(one, folder / f"{index:03d}.dcm")
        made.append(one)
    return made


def picture(path: Path, values: np.ndarray, patient: str = "ID-4711", kind: str = "XC", **more: Any) -> Any:
    """Write one picture ``(rows, columns[, 3])`` without a place in space, or with ``NumberOfFrames`` several."""
    made = image(kind, values, PatientID=patient, ImageType=["ORIGINAL", "PRIMARY"], **more)
    save(made, path)
    return made


def segmentation(path: Path, sources: Sequence[Any], masks: Mapping[str, np.ndarray], **options: Any) -> Any:
    """Write masks ``(frames, rows, columns)`` as one SEG about images; empty frames are left out.

    Args:
        path: the file.
        sources: data sets of the images.
        masks: of each segment, by its label.
        options: of ``highdicom.seg.Segmentation``; ``codes`` are property types by label, ``geometry`` is of the masks
            where it is not that of the images.
    """
    import highdicom
    from pydicom.sr.codedict import codes

    types = options.pop("codes", {})
    kind = options.pop("segmentation_type", "BINARY")
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=types.get(label, codes.SCT.Tissue),
            algorithm_type="MANUAL",
        )
        for number, label in enumerate(masks, start=1)
    ]
    stacked = np.stack(list(masks.values()), axis=-1)
    geometry = options.pop("geometry", None)
    if geometry is not None:
        stacked = highdicom.Volume(
            np.moveaxis(stacked, -1, -1), geometry.affine, geometry.coordinate_system, geometry.frame_of_reference_uid,
            channels={"SegmentNumber": range(1, len(masks) + 1)},
        )  # fmt: skip
    made = highdicom.seg.Segmentation(
        source_images=list(sources),
        pixel_array=stacked if kind != "BINARY" or geometry is not None else stacked.astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Maker",
        manufacturer_model_name="Model",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
    save(made, path)
    return made


def structure_set(path: Path, images: Sequence[Any], regions: Mapping[str, Sequence[np.ndarray]], **more: Any) -> Any:
    """Write regions, each a list of contours ``(points, 3)`` in mm (LPS+), as one RTSTRUCT."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    def item(**values: Any) -> Dataset:
        made = Dataset()
        for keyword, value in values.items():
            setattr(made, keyword, value)
        return made

    first = images[0]
    made = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3",
        SOPInstanceUID=generate_uid(),
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=generate_uid(),
        Modality="RTSTRUCT",
        PatientID=first.PatientID,
        PatientName=first.PatientName,
        StructureSetLabel="regions",
    )
    named = [item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID) for one in images]
    of_series = item(SeriesInstanceUID=first.SeriesInstanceUID, ContourImageSequence=named)
    of_study = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[of_series],
    )
    place = item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[of_study])
    made.ReferencedFrameOfReferenceSequence = [place]
    made.StructureSetROISequence = [
        item(
            ROINumber=n,
            ReferencedFrameOfReferenceUID=first.FrameOfReferenceUID,
            ROIName=name,
            ROIGenerationAlgorithm="",
        )
        for n, name in enumerate(regions, start=1)
    ]
    made.ROIContourSequence = [
        item(
            ReferencedROINumber=n,
            ContourSequence=[
                item(
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.6g}" for value in points.ravel()],
                )
                for points in contours
            ],
        )
        for n, contours in enumerate(regions.values(), start=1)
    ]
    for keyword, value in more.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    save(made, path)
    return made
