"""DICOM archives that cannot be trained from: clear errors, all offenders at once."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest

from medssm_monai.data import DatalistError, segmentation_datalists

from .archives import picture, segmentation, series, structure_set
from .objects import require_libraries

require_libraries()
SIZE = (8, 7, 6)
LABELS = {"liver": 1, "tumor": 2}
ALL = {"spatial_dims": 3, "fractions": (1.0, 0.0, 0.0), "require": ("training",)}


@pytest.fixture
def made(tmp_path):
    return add(tmp_path, "good")


def planes(low: int, high: int) -> np.ndarray:
    """(slices, rows, columns)."""
    found = np.zeros(SIZE[::-1], bool)
    found[low:high, 2:5, 2:6] = True
    return found


def add(root, name: str, masks=None, **more):
    """A labeled series in a folder, and its data sets."""
    images = series(root / name / "im", np.random.default_rng(0).integers(1, 900, SIZE), f"PAT-{name}", **more)
    segmentation(
        root / name / "seg.dcm", images, {"liver": planes(0, 2), "tumor": planes(3, 5)} if masks is None else masks
    )
    return images


def problems(root, labels=LABELS, **options) -> dict[str, list[str]]:
    """What is wrong, by kind."""
    with pytest.raises(DatalistError) as raised:
        segmentation_datalists(root, "dicom", labels=labels, **{**ALL, **options})
    found: dict[str, list[str]] = {}
    for problem in raised.value.problems:
        found.setdefault(problem.kind, []).append(str(problem))
    return found


def test_all_offenders_are_said_at_once(made, tmp_path):
    gone = add(tmp_path, "gone")
    shutil.rmtree(tmp_path / "gone" / "im")
    holed = add(tmp_path, "holed")
    (tmp_path / "holed" / "im" / "003.dcm").unlink()
    add(tmp_path, "overlap", {"liver": planes(0, 4), "tumor": planes(3, 5)})
    add(tmp_path, "unknown", {"spleen": planes(0, 2), "lever": planes(3, 4)})
    add(tmp_path, "cut")
    whole = (tmp_path / "cut" / "seg.dcm").read_bytes()
    (tmp_path / "cut" / "seg.dcm").write_bytes(whole[: len(whole) * 9 // 10])
    twice = add(tmp_path, "twice")
    segmentation(tmp_path / "twice" / "more.dcm", twice, {"tumor": planes(1, 2)})
    found = problems(tmp_path)
    assert {kind: len(said) for kind, said in found.items()} == {
        "unreadable file": 1,
        "segmentation without image": 2,
        "unknown segments": 1,
        "class in two segmentations": 1,
        "overlapping segments": 1,
    }
    said = sorted(found["segmentation without image"])
    assert gone[0].SeriesInstanceUID in said[0] and "gone" in said[0]
    assert holed[0].SeriesInstanceUID in said[1] and "a slice is missing" in said[1]
    assert "cut" in found["unreadable file"][0]
    assert "spleen, lever" in found["unknown segments"][0]
    assert "tumor" in found["class in two segmentations"][0] and "twice" in found["class in two segmentations"][0]
    assert "tumor and liver in 12 voxels" in found["overlapping segments"][0]
    assert "overlap" in found["overlapping segments"][0]


def test_channels_that_are_missing_or_there_twice(made, tmp_path):
    """Of one series, and of three of which two have one name and one lies on other voxels."""
    found = problems(tmp_path, channel_names=["t1", "flair"])
    assert "no flair among the series on the same voxels, which are called: t1" in found["missing channels"][0]
    same = {key: getattr(made[0], key) for key in ("StudyInstanceUID", "FrameOfReferenceUID")}
    twin = series(tmp_path / "good" / "twin", np.ones(SIZE), "PAT-good", SeriesDescription="AX t1", **same)
    elsewhere = {"SeriesDescription": "flair", "spacing": (2.0, 0.8, 1.25), **same}
    series(tmp_path / "good" / "elsewhere", np.ones(SIZE), "PAT-good", **elsewhere)
    assert "no flair" in problems(tmp_path, channel_names=["t1", "flair"])["missing channels"][0]
    series(tmp_path / "good" / "flair", np.ones(SIZE), "PAT-good", SeriesDescription="FLAIR", **same)
    said = problems(tmp_path, channel_names=["t1", "flair"])["channel in several series"][0]
    assert made[0].SeriesInstanceUID in said and twin[0].SeriesInstanceUID in said


def test_a_class_that_no_object_has(made, tmp_path):
    found = problems(tmp_path, {"liver": 1, "kidney": 2})
    assert "kidney" in found["class without segments"][0] and "liver, tumor" in found["class without segments"][0]


def test_regions_for_which_no_value_stands(made, tmp_path):
    found = problems(tmp_path, {"liver": [1, 2], "tumor": 2})
    assert "tumor alone in 24 voxels" in found["overlapping segments"][0]


def test_segmentations_of_pictures_among_volumes_and_the_other_way_round(made, tmp_path):
    photo = picture(tmp_path / "photo" / "a.dcm", np.zeros((7, 8), np.uint8))
    segmentation(tmp_path / "photo" / "b.dcm", [photo], {"liver": planes(0, 2)[:1]})
    assert "photo" in problems(tmp_path)["picture among volumes"][0]
    with pytest.raises(DatalistError, match=r"(?s)volume among pictures.*good"):
        segmentation_datalists(tmp_path, "dicom", labels={"liver": 1}, spatial_dims=2, fractions=(1.0, 0.0, 0.0))


def test_an_object_without_references_is_placed_or_said_to_fit_several(made, tmp_path):
    def forget(path):
        import pydicom

        seg = pydicom.dcmread(path)
        del seg.ReferencedSeriesSequence
        for group in seg.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence
        seg.save_as(path)

    forget(tmp_path / "good" / "seg.dcm")
    (item,) = segmentation_datalists(tmp_path, "dicom", labels=LABELS, **ALL)["training"]
    assert item["name"] == made[0].SeriesInstanceUID
    same = {key: getattr(made[0], key) for key in ("StudyInstanceUID", "FrameOfReferenceUID")}
    series(tmp_path / "other" / "im", np.ones(SIZE), **same)
    found = problems(tmp_path)
    assert made[0].SeriesInstanceUID in found["segmentation of several images"][0]


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.97, 0.99])
def test_structure_sets_that_are_cut_off(made, tmp_path, share):
    """pydicom reads such a file without a word, and fewer contours."""
    path = tmp_path / "good" / "rt.dcm"
    square = np.array([[-18.0, 17, 8.4], [-12, 17, 8.4], [-12, 20, 8.4]])
    structure_set(path, made, {"kidney": [square] * 9, "spleen": [square] * 9})
    assert "kidney, spleen" in problems(tmp_path)["unknown segments"][0]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    found = problems(tmp_path)
    assert list(found) == ["unreadable file"] and "rt.dcm" in found["unreadable file"][0]


def test_structure_sets_without_areas(made, tmp_path):
    structure_set(tmp_path / "good" / "rt.dcm", made, {"kidney": []})
    assert "segments: none" in problems(tmp_path)["unknown segments"][0]


def test_folders_without_images_or_segmentations(made, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatalistError, match="no images"):
        segmentation_datalists(tmp_path / "empty", "dicom", spatial_dims=3)
    (tmp_path / "good" / "seg.dcm").unlink()
    assert "1 images" in problems(tmp_path)["no segmentations"][0]


def test_options_that_do_not_fit(made, tmp_path):
    options = {"labels": LABELS, "spatial_dims": 3}
    with pytest.raises(ValueError, match=r"group_column='patient'.*keeps patients together"):
        segmentation_datalists(tmp_path, "dicom", group_column="patient", **options)


def test_the_split_command_says_that_patients_are_drawn_in_the_training(made, tmp_path, capsys):
    from medssm_monai.data.split import main

    assert main([str(tmp_path), "-o", str(tmp_path.parent / "split.json"), "--spatial_dims", "3"]) == 2
    assert "drawn by patients" in capsys.readouterr().err


def test_a_split_file_that_tears_a_patient(tmp_path):
    import json

    uids = [add(tmp_path, name)[0].SeriesInstanceUID for name in "ab"]
    for path in (tmp_path / "b" / "im").iterdir():  # of the same patient
        import pydicom

        one = pydicom.dcmread(path)
        one.PatientID = "PAT-a"
        one.save_as(path)
    split = tmp_path.parent / f"{tmp_path.name}.json"
    split.write_text(json.dumps({"training": uids[:1], "validation": uids[1:], "test": []}))
    with pytest.raises(DatalistError, match="group in two parts") as raised:
        segmentation_datalists(tmp_path, "dicom", split_file=split, labels=LABELS, spatial_dims=3)
    assert "PAT-a" not in str(raised.value)


def test_the_log_says_what_is_left_out_and_names_no_patient(made, tmp_path, caplog):
    other = series(tmp_path / "other", np.ones(SIZE), "PAT-other")
    caplog.set_level(logging.INFO)
    segmentation_datalists(tmp_path, labels={"liver": 1}, **ALL)
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("medssm"))
    assert f"1 series without segments left out: {other[0].SeriesInstanceUID}" in text
    assert "segments of no class are background: tumor (1)" in text
    assert "PAT-" not in text and "Nobody" not in text
