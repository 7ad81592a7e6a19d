"""Classes of DICOM images by a table."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from medssm_monai.data import DatalistError, classification_datalists
from medssm_monai.transforms import LoadImage2D, LoadImage3D

from .archives import picture, series
from .objects import require_libraries

require_libraries()
PATIENTS = 14


def value(number: int) -> np.ndarray:
    return np.full((9, 7), 10 * number + 5, np.uint8)


@pytest.fixture
def archive(tmp_path):
    """Fourteen patients with two pictures each, deep in folders, and what is written of each."""
    from pydicom.uid import generate_uid

    made = []
    for number in range(2 * PATIENTS):
        facts = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
        path = tmp_path / f"Nobody^{number // 2}" / f"{number}" / "IM0"
        made.append(picture(path, value(number % 20), f"PAT-{number // 2}", "DX", **facts))
    return made


def write(folder, header: str, rows) -> None:
    (folder / "labels.csv").write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")


def of(archive, keyword: str, label) -> list[tuple[str, str]]:
    return sorted({(str(getattr(one, keyword)), label(one)) for one in archive})


def label_of(one) -> str:
    return "sick" if int(one.PatientID[4:]) % 2 else "well"


@pytest.mark.parametrize(
    ("column", "keyword"),
    [
        ("patient_id", "PatientID"),
        ("PatientID", "PatientID"),
        ("study_uid", "StudyInstanceUID"),
        ("SeriesInstanceUID", "SeriesInstanceUID"),
        ("sop_instance_uid", "SOPInstanceUID"),
    ],
)
def test_every_picture_has_the_class_of_its_row_and_patients_stay_together(archive, tmp_path, column, keyword):
    write(tmp_path, f"{column},label", of(archive, keyword, label_of))
    lists = classification_datalists(tmp_path)
    assert lists.class_names == ["sick", "well"]
    known = {str(one.SOPInstanceUID): one for one in archive}
    found = {item["name"]: item for items in lists.values() for item in items}
    assert found.keys() == known.keys()
    for uid, item in found.items():
        assert lists.class_names[item["label"]] == label_of(known[uid])
        assert np.array_equal(LoadImage2D(channels=1)(item["image"])[0] * 255, known[uid].pixel_array)
    parts = [{known[item["name"]].PatientID for item in items} for items in lists.values()]
    assert all(parts) and sum(map(len, parts)) == PATIENTS == len(set.union(*parts))


def test_parts_of_the_table(archive, tmp_path):
    part = lambda one: ("train", "Val", "test")[int(one.PatientID[4:]) // 2 % 3]  # noqa: E731
    rows = sorted({(one.PatientID, label_of(one), part(one)) for one in archive})
    write(tmp_path, "patient_id,label,part", rows)
    lists = classification_datalists(tmp_path)
    known = {str(one.SOPInstanceUID): part(one) for one in archive}
    names = {"training": "train", "validation": "Val", "test": "test"}
    assert all(known[item["name"]] == names[part] for part, items in lists.items() for item in items)
    assert "labels.csv" in lists.rule and sum(map(len, lists.values())) == 2 * PATIENTS
    fewer = [(uid, label, "test" if n == 0 else "train") for n, (uid, label, _) in enumerate(rows)]
    write(tmp_path, "patient_id,label,part", [*fewer[:-1], (*fewer[-1][:2], "")])
    with pytest.raises(DatalistError, match=r"row of no part.*\n.*labels\.csv, row 15 \(empty; expected train"):
        classification_datalists(tmp_path)


def test_a_patient_in_two_parts_is_refused(archive, tmp_path):
    rows = [(str(one.SOPInstanceUID), label_of(one), ("train", "val")[n % 2]) for n, one in enumerate(archive)]
    write(tmp_path, "sop_instance_uid,label,part", rows)
    with pytest.raises(DatalistError, match="group in two parts") as raised:
        classification_datalists(tmp_path)
    assert len(raised.value.problems) == PATIENTS and "PAT-" not in str(raised.value)


def test_volumes(tmp_path, caplog):
    made = [series(tmp_path / f"{n}", np.full((8, 7, 6), n + 1), f"PAT-{n}", flipped=bool(n % 2)) for n in range(12)]
    photo = picture(tmp_path / "photo", value(0), "PAT-0")
    table = tmp_path.parent / f"{tmp_path.name}.csv"
    rows = [f"{own[0].SeriesInstanceUID};{'ab'[n % 2]}" for n, own in enumerate(made)]
    table.write_text("\n".join(["series_uid;label", *rows]))
    lists = classification_datalists(tmp_path, labels_file=table, spatial_dims=3)
    known = {own[0].SeriesInstanceUID: n for n, own in enumerate(made)}
    for item in (item for items in lists.values() for item in items):
        number = known.pop(item["name"])
        assert item["label"] == number % 2
        assert (LoadImage3D(scale=False)(item["image"]) == number + 1).all()
    assert not known
    with table.open("a") as stream:
        stream.write(f"\n{photo.SeriesInstanceUID};a")
    with pytest.raises(DatalistError, match=rf"picture among volumes.*\n.*row 14 \(series {photo.SeriesInstanceUID}\)"):
        classification_datalists(tmp_path, labels_file=table, spatial_dims=3)


def test_rows_and_images_without_partner_are_counted_and_named_by_uid(archive, tmp_path, caplog):
    rows = of(archive[2:], "StudyInstanceUID", label_of)
    write(
        tmp_path,
        "study_uid,patient_id,label",
        [(uid, "", label) for uid, label in rows] + [("1.2.3", "", "well"), ("", "PAT-gone", "well")],
    )
    caplog.set_level(logging.INFO)
    classification_datalists(tmp_path)
    text = caplog.text
    assert "2 row(s) without an image are left out: row 28 (study 1.2.3), row 29" in text
    assert "2 image(s) without a row are left out: " in text and archive[0].SOPInstanceUID in text
    assert "PAT-" not in text and "Nobody" not in text


def test_what_contradicts_and_lacks_is_said_at_once(archive, tmp_path):
    rows = [("patient", one.PatientID, "", label_of(one)) for one in archive[::2]]
    rows += [("patient", "PAT-3", "", "well")]  # sick above
    rows += [("series", "PAT-4", str(archive[8].SeriesInstanceUID), "sick")]  # well as a patient
    rows += [("none", "", "", "well"), ("none", "PAT-5", "", "")]
    write(tmp_path, "what,patient_id,series_uid,label", rows)
    with pytest.raises(DatalistError) as raised:
        classification_datalists(tmp_path)
    found = sorted((problem.kind, problem.path) for problem in raised.value.problems)
    assert found == [
        ("row without a label", "labels.csv, row 18"),
        ("row without a label", "labels.csv, row 19"),
        ("rows that contradict each other", f"labels.csv, image {archive[8].SOPInstanceUID}"),
        ("rows that contradict each other", "labels.csv, row 16"),
    ]
    assert "PAT-" not in str(raised.value)


def test_tables_and_options_that_do_not_fit(archive, tmp_path):
    write(tmp_path, "image,label", [("a", "b")])
    with pytest.raises(DatalistError, match=r"no table with patient_id"):
        classification_datalists(tmp_path, "dicom")
    with pytest.raises(DatalistError, match=r"expected a column label and one of sop_instance_uid.*image, label"):
        classification_datalists(tmp_path, labels_file=tmp_path / "labels.csv")
    with pytest.raises(FileNotFoundError, match="labels_file .*nowhere.csv does not exist"):
        classification_datalists(tmp_path, labels_file=tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match="labels_file is of the layout dicom"):
        classification_datalists(tmp_path, "folders", labels_file=tmp_path / "labels.csv")
    write(tmp_path, "patient_id,label", of(archive, "PatientID", label_of))
    with pytest.raises(ValueError, match=r"group_column='patient_id'.*by itself"):
        classification_datalists(tmp_path, group_column="patient_id")
    (tmp_path / "more.csv").write_text((tmp_path / "labels.csv").read_text())
    with pytest.raises(DatalistError, match=r"several tables of labels \(labels.csv, more.csv\)"):
        classification_datalists(tmp_path)


def test_classes_that_are_named(archive, tmp_path, caplog):
    rows = [(uid, f"{label}{n % 3}") for n, (uid, label) in enumerate(of(archive, "PatientID", label_of))]
    write(tmp_path, "patient_id,label", rows)
    lists = classification_datalists(tmp_path, class_names=["well1", "sick2"], fractions=(1.0, 0.0, 0.0), require=())
    assert lists.class_names == ["well1", "sick2"] and all(lists.counts())
    assert "of no named class are left out: sick0, sick1, well0, well2" in caplog.text
    with pytest.raises(DatalistError, match=r"empty class.*\n.*dead \(no image of it; labels.csv\)"):
        classification_datalists(tmp_path, class_names=["well1", "dead"])
