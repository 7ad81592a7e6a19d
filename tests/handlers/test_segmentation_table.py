"""The table of a segmentation without labels, against masks whose area is counted by hand."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor

from medssm_monai.data.readers.files import DICOM, NIFTI, RASTER
from medssm_monai.handlers import SegmentationTable
from medssm_monai.handlers.segmentation_table import pixel_area

AFFINE = np.array([[0, 0.5, 0, 3], [2.0, 0, 0, -1], [0, 0, 4.0, 0], [0, 0, 0, 1]])  # rows 2 mm apart, columns 0.5 mm


def run(table, *items):
    engine = Engine(lambda e, batch: batch)
    engine.add_event_handler(Events.ITERATION_STARTED, lambda e: setattr(e.state, "output", e.state.batch))
    table.attach(engine)
    engine.run([list(items)])
    with open(table.path, newline="") as stream:
        return list(csv.DictReader(stream))


def item(probability, kind=NIFTI, affine=AFFINE, name="/x/=a.nii.gz"):
    meta = {"filename_or_obj": name, "file_kind": kind, "original_affine": affine}
    image = MetaTensor(torch.zeros(1, 8, 8), meta=meta)  # resized: the table goes by the prediction
    return {"image": image, "probability": torch.tensor(probability)[None], "saved_to": "/y/a.nii.gz"}


def test_area_share_and_confidence(tmp_path):
    probability = np.zeros((4, 5), np.float32)
    probability[1, 1:4] = 0.6, 0.9, 0.9  # three pixels of 2 mm x 0.5 mm
    empty = np.full((4, 5), 0.2, np.float32)
    full, nothing = run(
        SegmentationTable(tmp_path / "s.csv", weights="m.pt"),
        item(probability),
        item(empty, RASTER, np.eye(4), "b.png"),
    )
    assert full == {
        "image": "'=a.nii.gz",
        "mask": "/y/a.nii.gz",
        "area_pixels": "3",
        "area_mm2": "3.0000",
        "share": "0.150000",
        "confidence": "0.800000",
        "weights": "m.pt",
    }
    assert [nothing[key] for key in ("area_pixels", "area_mm2", "share", "confidence")] == ["0", "", "0.000000", ""]


@pytest.mark.parametrize(
    ("kind", "affine", "expected"),
    [
        (NIFTI, AFFINE, 1.0),
        (NIFTI, np.eye(4), 1.0),
        (DICOM, np.diag([0.25, 0.5, 1, 1]), 0.125),
        (DICOM, np.eye(4), None),
        (RASTER, np.diag([0.25, 0.5, 1, 1]), None),
    ],
)
def test_pixel_area_is_known_or_not(kind, affine, expected):
    assert pixel_area({"file_kind": kind, "original_affine": affine}) == expected


def test_masks_that_were_not_saved_are_an_error(tmp_path):
    one = item(np.zeros((4, 5), np.float32))
    del one["saved_to"]
    with pytest.raises(ValueError, match="SaveImage2Dd"):
        run(SegmentationTable(tmp_path / "s.csv"), one)
