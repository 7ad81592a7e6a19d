"""The table of a segmentation without labels, against masks whose area is counted by hand."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from PIL import Image

from medssm_monai.data.labels import LabelSet
from medssm_monai.data.readers.files import DICOM, NIFTI, RASTER
from medssm_monai.handlers import SegmentationTable
from medssm_monai.handlers.segmentation_table import pixel_area, voxel_volume

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


ORGANS = LabelSet.of({"liver": 1, "=tumor": 2})
VOLUME = np.array([[0, 0.5, 0, 3], [2.0, 0, 0, -1], [0, 0, 4.0, 0], [0, 0, 0, 1]])  # 2 x 0.5 x 4 mm


def volume_item(probability, folder, affine=VOLUME):
    image = MetaTensor(torch.zeros(1, 8, 8, 8), meta={"filename_or_obj": "a.nii.gz", "file_kind": NIFTI})
    saved = str(folder / "a_mask.nii.gz")
    return {"image": image, "probability": MetaTensor(probability, affine=affine), "saved_to": saved}


def test_a_row_for_each_class_of_a_volume(tmp_path):
    probability = torch.zeros(3, 4, 5, 6)
    probability[0] = 1
    probability[:, 1, 1:4, 2] = torch.tensor([0.1, 0.7, 0.2])[:, None]
    probability[:, 1, 1, 2] = torch.tensor([0.05, 0.9, 0.05])
    table = SegmentationTable(tmp_path / "s.csv", load=lambda item: {"image": torch.rand(4, 4, 5, 6)}, labels=ORGANS)
    liver, tumor = run(table, volume_item(probability, tmp_path))
    picture = tmp_path / "overlays" / "a_mask.png"
    assert liver == {
        "image": "a.nii.gz",
        "mask": str(tmp_path / "a_mask.nii.gz"),
        "class": "liver",
        "voxels": "3",
        "volume_ml": "0.0120",
        "share": "0.025000",
        "confidence": f"{(0.9 + 0.7 + 0.7) / 3:.6f}",
        "overlay": str(picture),
    }
    assert tumor["class"] == "'=tumor" and tumor["overlay"] == str(picture)
    assert [tumor[key] for key in ("voxels", "volume_ml", "share", "confidence")] == ["0", "0.0000", "0.000000", ""]
    drawn = np.asarray(Image.open(picture))
    liver_shown, tumor_shown = ((drawn == np.array(color)).all(axis=-1).sum() for color in ORGANS.colors)
    assert liver_shown > 100 and tumor_shown == 0
    assert (drawn[:20] == 255).any()  # the legend above


def test_regions_of_pictures_overlap(tmp_path):
    regions = LabelSet.of({"whole": [1, 2], "core": 2})
    probability = np.zeros((2, 4, 5), np.float32)
    probability[0, :2], probability[1, 0] = 0.8, 0.6
    one = item(probability[0])
    one["probability"] = torch.from_numpy(probability)
    rows = run(SegmentationTable(tmp_path / "s.csv", threshold=False, labels=regions, weights="w"), one)
    shown = [[row[key] for key in ("class", "pixels", "area_mm2", "confidence", "weights")] for row in rows]
    assert shown == [["whole", "10", "10.0000", "0.800000", "w"], ["core", "5", "5.0000", "0.600000", "w"]]
    assert "overlay" not in rows[0]
    rows = run(SegmentationTable(tmp_path / "s.csv", threshold=0.7, labels=regions), one)
    assert [row["pixels"] for row in rows] == ["10", "0"]


def test_one_class_by_rule_in_pictures_and_volumes(tmp_path):
    probability = np.zeros((4, 5), np.float32)
    probability[1, 1:4] = 0.9
    (old,) = run(SegmentationTable(tmp_path / "a.csv"), item(probability))
    (new,) = run(SegmentationTable(tmp_path / "b.csv", labels={"lesion": "foreground"}), item(probability))
    assert old == new and "area_pixels" in new
    volume = torch.zeros(1, 4, 5, 6)
    volume[0, :2, :2, :2] = 0.9
    (row,) = run(SegmentationTable(tmp_path / "c.csv", labels={"lesion": "foreground"}), volume_item(volume, tmp_path))
    assert (row["class"], row["voxels"], row["volume_ml"]) == ("lesion", "8", "0.0320")


def test_channels_that_do_not_fit_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="2 channels; expected 3: background, liver, =tumor"):
        run(SegmentationTable(tmp_path / "s.csv", labels=ORGANS), volume_item(torch.zeros(2, 4, 5, 6), tmp_path))


def test_volume_of_a_voxel_does_not_depend_on_the_direction_of_its_axes():
    assert voxel_volume(VOLUME) == pytest.approx(0.004) == voxel_volume(VOLUME @ np.diag([-1.0, 1, 1, 1]))
    assert voxel_volume(None) is None


CONFORMAL = {"method": "crc", "level": 0.9}


def test_controlled_masks_have_columns_before_the_weights_and_change_no_other(tmp_path):
    probability = np.zeros((4, 5), np.float32)
    probability[1, 1:4] = 0.6, 0.9, 0.3
    conformal = {**CONFORMAL, "thresholds": {"lesion": 0.25}}
    (plain,) = run(SegmentationTable(tmp_path / "a.csv", weights="m.pt"), item(probability))
    (row,) = run(SegmentationTable(tmp_path / "b.csv", weights="m.pt", conformal=conformal), item(probability))
    assert (row["controlled_threshold"], row["controlled_pixels"]) == ("0.25", "3")
    assert {key: row[key] for key in plain} == plain and list(row)[-1] == "weights"


def test_controlled_masks_of_each_class_of_a_volume(tmp_path):
    labels = LabelSet.of({"liver": 1, "tumor": 2})
    probability = np.zeros((3, 4, 4, 4), np.float32)
    probability[0], probability[1, 0], probability[2, 1, 0] = 0.6, 0.3, 0.4
    conformal = {**CONFORMAL, "thresholds": {"liver": 0.25, "tumor": 0.35}}
    table = SegmentationTable(tmp_path / "s.csv", labels=labels, conformal=conformal)
    rows = run(table, volume_item(probability, tmp_path))
    assert [(row["class"], row["controlled_voxels"]) for row in rows] == [("liver", "16"), ("tumor", "4")]
    with pytest.raises(ValueError, match="calibrated for the classes liver, tumor, and there are spleen"):
        SegmentationTable(tmp_path / "s.csv", labels=LabelSet.of({"spleen": 1}), conformal=conformal)
