"""Folders of a DICOM series as items: fusion and classification of volumes, by folder and by table."""

from __future__ import annotations

import numpy as np
import pytest

from medssm_monai.data import DatalistError, classification_datalists, fusion_datalists, image_datalist, pair_datalist
from medssm_monai.data.datalists.checks import image_problem
from medssm_monai.data.readers.volume import read_volume

from .builders import names, picture, save
from .dicom_files import save_dicom

REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
SHAPE = (3, 6, 5)  # slices, rows, columns


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, SHAPE, dtype=np.uint16)


def save_series(folder, seed: int = 0, uid: str = "1.2.3", first: int = 0):
    """One slice a file, 2 mm apart."""
    for number, plane in enumerate(values(seed)):
        place = {
            0x0020000E: ("UI", uid),
            0x00200032: ("DS", f"0\\0\\{2 * number}"),
            0x00200037: ("DS", "1\\0\\0\\0\\1\\0"),
            0x00280030: ("DS", "1\\1"),
        }
        save_dicom(folder / f"{first + number:03d}.dcm", plane, extra=place)
    return folder


@pytest.fixture
def cases(tmp_path):
    for seed, (source, patient) in enumerate((s, p) for s in ("T1", "FLAIR") for p in ("p1", "p2", "p10")):
        save_series(tmp_path / source / patient, seed)
    return tmp_path


def test_pairs_of_series_folders_for_training(cases):
    lists = fusion_datalists(cases, ("T1", "FLAIR"), spatial_dims=3, split="by_name")
    assert [names(lists[part]) for part in lists] == [["p1"], ["p2"], ["p10"]]
    assert lists["training"][0]["image_b"] == str(cases / "FLAIR" / "p1")


def test_pairs_of_series_folders_by_folder_and_by_table(cases):
    by_folder = pair_datalist(cases, ("T1", "FLAIR"), spatial_dims=3)
    (cases / "pairs.csv").write_text("image_a,image_b\nT1/p1,FLAIR/p1\nT1\\p2,FLAIR\\p2\n")
    by_table = pair_datalist(cases / "pairs.csv", ("T1", "FLAIR"), spatial_dims=3)
    assert names(by_folder) == ["p1", "p2", "p10"]
    assert by_table == by_folder[:2]
    assert read_volume(by_table[0]["image_a"], scale=False).shape == (1, 5, 6, 3)


def test_endings_and_one_patient(tmp_path):
    for ending in ("_t1", "_flair"):
        save_series(tmp_path / "S1" / f"S1{ending}")
    assert names(pair_datalist(tmp_path, ("_t1", "_flair"), spatial_dims=3)) == ["S1"]
    for source in ("A", "B"):
        save_series(tmp_path / "one" / source)
    (pair,) = pair_datalist(tmp_path / "one", ("A", "B"), spatial_dims=3)
    assert (pair["name"], pair["image_a"]) == ("one", str(tmp_path / "one" / "A"))


def test_images_of_a_folder_a_table_and_the_series_itself(cases):
    assert names(image_datalist(cases / "T1", spatial_dims=3)) == ["p1", "p2", "p10"]
    assert names(image_datalist(cases / "T1" / "p2", spatial_dims=3)) == ["p2"]
    (cases / "list.csv").write_text("image;age\nT1/p10;4\n")
    assert image_datalist(cases / "list.csv", spatial_dims=3)[0]["image"] == str(cases / "T1" / "p10")
    assert names(image_datalist(cases / "T1" / "p2")) == ["000", "001", "002"]  # in 2D each slice is an image
    with pytest.raises(DatalistError, match=r"a folder; only volumes \(spatial_dims 3\)"):
        image_datalist([cases / "T1" / "p2"])


def test_classes_of_series_folders(tmp_path):
    for label in "ab":
        for patient in range(4):
            save_series(tmp_path / label / f"p{patient}", seed=patient + 10 * (label == "b"))
    lists = classification_datalists(tmp_path, spatial_dims=3)
    assert [lists.counts(part) for part in ("training", "validation", "test")] == [[2, 2], [1, 1], [1, 1]]


def test_a_report_beside_the_slices_does_not_disturb(tmp_path):
    folder = save_series(tmp_path / "p1", seed=4)
    expected = read_volume(folder, scale=False)
    save_dicom(folder / "000_report.dcm", None, sop_class=REPORT, extra={0x0020000E: ("UI", "1.2.2")})
    save_dicom(folder / "DICOMDIR", None, sop_class="1.2.840.10008.1.3.10")
    assert np.array_equal(read_volume(folder, scale=False), expected)
    assert np.array_equal(np.asarray(expected)[0].transpose(2, 1, 0), values(4))
    assert names(image_datalist(tmp_path, spatial_dims=3)) == ["p1"]


def test_two_series_in_a_folder_are_an_error_that_names_them(cases):
    save_series(cases / "T1" / "p1", seed=9, uid="1.2.4", first=50)
    files = r"3 file\(s\) with 0\d\d\.dcm"
    message = rf"several DICOM series \(1\)[\s\S]*p1 \(2 series: {files}, {files}"
    for call in (
        lambda: pair_datalist(cases, ("T1", "FLAIR"), spatial_dims=3),
        lambda: image_datalist([cases / "T1" / "p1"], spatial_dims=3),
        lambda: read_volume(cases / "T1" / "p1"),
    ):
        with pytest.raises(DatalistError, match=message):
            call()
    assert image_problem(str(cases / "T1" / "p1"), full=True, volume=True).kind == "several DICOM series"


def test_a_folder_without_slices_is_no_item(cases):
    save(picture(), cases / "T1" / "p3" / "x.png")
    with pytest.raises(DatalistError, match="no DICOM pictures"):
        image_datalist([cases / "T1" / "p3"], spatial_dims=3)
    assert names(image_datalist(cases / "T1", spatial_dims=3)) == ["p1", "p2", "p10"]
