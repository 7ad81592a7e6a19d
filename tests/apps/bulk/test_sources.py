"""Where studies come from: folders, tables, Parquet lists, pairs and channels."""

from __future__ import annotations

import csv
import os

import pytest

from medssm_monai import load
from medssm_monai.apps.bulk.sources import ImageFolder, open_source
from medssm_monai.data.errors import DatalistError

from ...bundle.tiny_bundles import CLINICAL_FMAMBA, MEDCONVMAMBA, copy_bundle
from .pictures import write_pictures


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return load(copy_bundle(MEDCONVMAMBA, tmp_path_factory.mktemp("bundle")))


def named(source):
    return [study.name for study in source]


def test_a_folder_with_all_below_it_once_and_without_the_results(classifier, tmp_path):
    images = write_pictures(tmp_path / "in", 4)
    write_pictures(images / "out", 2)
    (images / "notes.txt").write_text("no image")
    (images / ".hidden.png").write_bytes(b"")
    os.symlink(images, images / "Anna 0" / "again")
    source = open_source(images, classifier, out=images / "out")
    assert isinstance(source, ImageFolder) and source.count() == 4
    assert named(source) == ["Anna 0/image 0.png", "Anna 0/image 2.png", "Anna 1/image 1.png", "Anna 1/image 3.png"]


def test_keys_follow_from_names_and_stamps_from_files(classifier, tmp_path):
    first, second = write_pictures(tmp_path / "a", 3), write_pictures(tmp_path / "b", 3)
    one, other = list(open_source(first, classifier)), list(open_source(second, classifier))
    assert [study.key for study in one] == [study.key for study in other]
    assert len({study.key for study in one}) == 3
    os.utime(one[0].files[0], ns=(1, 1))
    assert [a.stamp == b.stamp for a, b in zip(one, open_source(first, classifier), strict=True)] == [False, True, True]
    assert all("Anna" not in f"{study.key}{study.stamp}" for study in one)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_lists_name_files_beside_them_and_what_is_not_there_is_told(kind, classifier, tmp_path):
    write_pictures(tmp_path / "in", 3)
    rows = ["in/Anna 1/image 1.png", "in/Anna 0/image 0.png", "in/gone.png"]
    if kind == "csv":
        path = tmp_path / "list.csv"
        with open(path, "w", newline="", encoding="utf8") as stream:
            csv.writer(stream).writerows([["image", "age"], *([row, 40] for row in rows)])
    else:
        pyarrow = pytest.importorskip("pyarrow", reason="Parquet lists need PyArrow")
        from pyarrow import parquet

        path = tmp_path / "list.parquet"
        parquet.write_table(pyarrow.table({"age": [40] * 3, "image": rows}), path)
    source = open_source(path, classifier)
    assert named(source) == rows and source.count() == 3
    assert [bool(study.wrong) for study in source] == [False, False, True]
    assert [study.key for study in source] == [study.key for study in source]  # may be gone through again


def test_parquet_without_the_column_is_refused(classifier, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet lists need PyArrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"age": [4]}), tmp_path / "a.parquet")
    with pytest.raises(DatalistError, match="has the columns age; name those of the files image"):
        open_source(tmp_path / "a.parquet", classifier)
    (tmp_path / "b.parquet").write_text("text")
    with pytest.raises(DatalistError, match="is no Parquet file"):
        open_source(tmp_path / "b.parquet", classifier)


def test_pairs_are_one_study_each(tmp_path):
    fusion = load(copy_bundle(CLINICAL_FMAMBA, tmp_path))
    for name in ("x_a.png", "x_b.png", "y_a.png", "y_b.png"):
        picture = next((write_pictures(tmp_path / "made", 1) / "Anna 0").iterdir())
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(picture.read_bytes())
    source = open_source(tmp_path / "in", fusion)
    assert named(source) == ["x_a.png, x_b.png", "y_a.png, y_b.png"]
    (tmp_path / "pairs.csv").write_text("image_a,image_b\nin/x_a.png,in/x_b.png\n")
    assert named(open_source(tmp_path / "pairs.csv", fusion)) == ["in/x_a.png, in/x_b.png"]


def test_an_input_that_is_not_there_is_named(classifier, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_source(tmp_path / "nowhere", classifier)
    (tmp_path / "list.csv").write_text("image\na.png\n")
    with pytest.raises(ValueError, match="is a list; a DICOM archive is a folder"):
        open_source(tmp_path / "list.csv", classifier, layout="dicom")


def test_results_by_another_way_into_the_input_are_passed_over_and_never_lie_on_it(classifier, tmp_path):
    images = write_pictures(tmp_path / "in", 2)
    write_pictures(images / "out", 2)
    os.symlink(images, tmp_path / "alias")
    assert open_source(images, classifier, out=tmp_path / "alias" / "out").count() == 2
    for same in (images, tmp_path / "alias"):
        with pytest.raises(ValueError, match="the folder of the results is that of the input; name another one"):
            open_source(images, classifier, out=same)


def test_a_row_of_a_parquet_list_without_a_file_is_told(classifier, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet lists need PyArrow")
    from pyarrow import parquet

    write_pictures(tmp_path / "in", 1)
    parquet.write_table(pyarrow.table({"image": ["in/Anna 0/image 0.png", None]}), tmp_path / "list.parquet")
    there, empty = open_source(tmp_path / "list.parquet", classifier)
    assert there.wrong == "" and "names no file" in empty.wrong
