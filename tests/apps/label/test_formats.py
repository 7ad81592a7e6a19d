"""Which files are images and labels of a studies folder, and how a training gets them."""

from __future__ import annotations

import gzip

import itk
import numpy as np
import pytest
from PIL import Image

from medssm_monai.apps.label.formats import (
    check_nrrd,
    image_kind,
    image_names,
    is_label,
    is_volume,
    label_names,
    provide,
    split_name,
)
from medssm_monai.apps.label.training_data import unusable, write_masks
from medssm_monai.data import ImageReadError, segmentation_datalists
from medssm_monai.data.readers.image import read_pixels
from medssm_monai.transforms import LoadImage2D

MASK = np.zeros((20, 24), np.uint8)
MASK[3:9, 5:17] = 1


def nrrd(path, values, spacing=(0.5, 0.7)):
    image = itk.image_from_array(values)
    image.SetSpacing([*spacing, *[3.0] * (values.ndim - 2)])
    image.SetOrigin([11.0, -7.0, 5.0][: values.ndim])
    path.parent.mkdir(parents=True, exist_ok=True)
    itk.imwrite(image, str(path))
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", ("a", ".png")),
        ("UPPER.PNG", ("UPPER", ".PNG")),
        ("a.png.png", ("a.png", ".png")),
        ("1.2.840.5.dcm", ("1.2.840.5", ".dcm")),
        ("scan.nii.gz", ("scan", ".nii.gz")),
        ("scan.NII.GZ", ("scan", ".NII.GZ")),
        ("Segmentation.seg.nrrd", ("Segmentation", ".seg.nrrd")),
        ("ct.nrrd", ("ct", ".nrrd")),
        ("case.json", ("case", ".json")),
        ("1.2.840.5", ("1.2.840.5", "")),
        (".png", (".png", "")),
    ],
)
def test_names_are_split_at_the_suffix(name, expected):
    assert split_name(name) == expected


def test_a_folder_lists_what_the_product_reads(tmp_path):
    images = ["a.png", "b.JPG", "c.tiff", "d.Bmp", "e.nii", "f.nii.gz", "g.dcm", "h.NRRD", "same.jpg", "same.png"]
    others = ["Thumbs.db", ".hidden.png", "notes.txt", "datastore_v2.json", "a_superpixels.png", "slide.svs", "x.xml"]
    for name in images + others:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "scan").write_bytes(b"\0" * 128 + b"DICM")  # as scanners name them
    (tmp_path / "folder.png").mkdir()
    assert image_names(tmp_path) == [*images[:8], "same.jpg", "same.png", "scan"]


def test_labels_are_images_and_files_that_name_a_class(tmp_path):
    for name in ("a.png", "b.json", "c.JSON", "d.seg.nrrd", "e.stl", "f.vtk", "g.mha"):
        (tmp_path / name).write_bytes(b"x")
    assert label_names(tmp_path) == ["a.png", "b.json", "c.JSON", "d.seg.nrrd"]
    assert not is_label(tmp_path / "e.stl")
    assert image_kind(tmp_path / "d.seg.nrrd") == "nrrd"


@pytest.mark.parametrize("name", ["case.nrrd", "case.NRRD", "case.seg.nrrd"])
def test_nrrd_becomes_nifti_of_the_same_values_and_geometry(tmp_path, name):
    source = nrrd(tmp_path / name, MASK[None])  # one slice, as an editor of volumes keeps it
    made = provide(source, tmp_path / "data", "case")
    assert made.name == "case.nii.gz"
    np.testing.assert_array_equal(read_pixels(made).values[..., 0], MASK)
    copy = itk.imread(str(made))
    np.testing.assert_allclose(copy.GetSpacing(), [0.5, 0.7, 3.0])
    np.testing.assert_allclose(copy.GetOrigin(), [11.0, -7.0, 5.0])


def test_masks_saved_as_nrrd_train_images_of_any_format(tmp_path):
    labelled = {}
    for number, (image, label) in enumerate([("png", "nrrd"), ("JPG", "seg.nrrd"), ("nrrd", "png"), ("png", "png")]):
        name, labels = f"case{number}", tmp_path / "labels"
        for folder, suffix, values in ((tmp_path / "studies", image, MASK * 100), (labels, label, MASK)):
            path = folder / f"{name}.{suffix}"
            folder.mkdir(exist_ok=True)
            if suffix.endswith("nrrd"):
                nrrd(path, values[None])
            else:
                Image.fromarray(values * (255 if folder == labels else 1)).save(path)
        labelled[name] = (tmp_path / "studies" / f"{name}.{image}", labels / f"{name}.{label}")
    split = write_masks(tmp_path / "run" / "data", labelled, 0.5)
    lists = segmentation_datalists(tmp_path / "run" / "data", layout="plain", split_file=split)
    items = [*lists["training"], *lists["validation"]]
    assert sorted(item["name"] for item in items) == sorted(labelled)
    for item in items:
        assert (read_pixels(item["label"]).values[..., 0] > 0).sum() == MASK.sum()
        assert read_pixels(item["image"]).values.shape[:2] == MASK.shape


def test_images_that_differ_in_their_suffix_train_beside_each_other(tmp_path):
    labelled = {}
    for image_id, name in (("same", "same.jpg"), ("same.png", "same.png")):  # ids of the datastore
        for folder in ("studies", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(MASK * 255).save(tmp_path / "studies" / name)
        Image.fromarray(MASK * 255).save(tmp_path / "labels" / f"{image_id}.png")
        labelled[image_id] = (tmp_path / "studies" / name, tmp_path / "labels" / f"{image_id}.png")
    split = write_masks(tmp_path / "run" / "data", labelled, 0.5)
    lists = segmentation_datalists(tmp_path / "run" / "data", layout="plain", split_file=split)
    assert {item["name"] for item in [*lists["training"], *lists["validation"]]} == {"same", "same.png"}


@pytest.mark.parametrize(
    ("kind", "left_out"),
    [("segmentation", {"b": ".json is no mask; masks are .bmp, .dcm"}), ("classification", {"a": "names no class"})],
)
def test_labels_that_a_training_cannot_take_are_named(tmp_path, kind, left_out):
    found = unusable(kind, {"a": tmp_path / "a.NRRD", "b": tmp_path / "b.json"})
    assert found.keys() == left_out.keys()
    for name, reason in left_out.items():
        assert reason in found[name]


@pytest.mark.parametrize("field", ["data file: secret.raw", "datafile: /etc/hostname", "Data File: LIST 2\nsecret.raw"])
def test_a_nrrd_header_cannot_name_another_file(tmp_path, field):
    (tmp_path / "secret.raw").write_bytes(bytes(range(4)))
    path = tmp_path / "case.nrrd"
    lines = ["NRRD0004", "type: uint8", "dimension: 2", "sizes: 2 2", "encoding: raw", *field.splitlines()]
    path.write_text("\n".join(lines) + "\n\n")
    with pytest.raises(ValueError, match="names another file"):
        check_nrrd(path)
    for use in (is_volume, lambda path: provide(path, tmp_path / "data", "case")):
        with pytest.raises(ValueError, match="names another file|no NRRD file"):
            use(path)
    assert not any((tmp_path / "data").glob("*"))


@pytest.mark.parametrize("content", [b"", b"NRRD0004\ntype: uint8\n", b"no nrrd\n\n" + bytes(9)])
def test_damaged_nrrd_files_are_named(tmp_path, content):
    path = tmp_path / "case.nrrd"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="case.nrrd: no "):
        provide(path, tmp_path / "data", "case")


def test_overlapping_segmentations_are_refused(tmp_path):
    path = tmp_path / "case.seg.nrrd"
    head = "NRRD0004\ntype: uint8\ndimension: 4\nsizes: 2 24 20 1\nkinds: list domain domain domain\nencoding: raw\n"
    space = "space: left-posterior-superior\nspace directions: none (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
    path.write_bytes((head + space + "\n").encode() + bytes(2 * 24 * 20))
    with pytest.raises(ValueError, match="2 overlapping segmentations"):
        provide(path, tmp_path / "data", "case")


@pytest.mark.parametrize(("shape", "expected"), [((5, 20, 24), True), ((1, 20, 24), False), ((20, 24), False)])
def test_volumes_are_told_by_the_header(tmp_path, shape, expected):
    assert is_volume(nrrd(tmp_path / "case.nrrd", np.zeros(shape, np.uint8))) is expected


GZIPPED = gzip.compress(bytes(1000))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("type: uchar\ndimension: 2\nsizes: 100000 100000\nencoding: gzip", "too large, 100000 x 100000"),
        ("type: double\ndimension: 3\nsizes: 2000 2000 2000\nencoding: raw", "count 2 times"),
        ("type: uchar\ndimension: 3\nsizes: 30000 200 100\nkinds: vector domain domain\nencoding: raw", "too large"),
        ("type: uchar\ndimension: 16\nsizes:" + " 9" * 16 + "\nencoding: gzip", "has 2 to 4"),  # ends the program
        ("type: uchar\ndimension: 2\nsizes: 10\nencoding: raw", "each with a size"),
        ("type: uchar\ndimension: 2\nsizes: 10 -1\nencoding: raw", "each with a size"),
        ("type: uchar\ndimension: 2\nsizes: 1 1\nsizes: 10 10\nencoding: raw", "two fields 'sizes'"),
        ("type: uchar\ndimension: 2\nsizes: 10 10\nencoding: gzip\nbyte skip: 2000000000", "not read"),  # minutes
        ("type: uchar\ndimension: 2\nsizes: 10 10\nencoding: raw\nline skip: 7", "not read"),
        ("type: block\nblock size: 2000000000\ndimension: 2\nsizes: 10 10\nencoding: raw", "not read"),
        ("type: uchar\ndimension: 2\nsizes: 10 10\nencoding: bzip2", "not read"),
    ],
)
def test_nrrd_headers_that_claim_or_do_what_no_image_does(tmp_path, header, words):
    path = tmp_path / "a.nrrd"
    path.write_bytes(f"NRRD0004\n{header}\n\n".encode() + GZIPPED)
    for read in (check_nrrd, is_volume, lambda source: provide(source, tmp_path / "out", "a")):
        with pytest.raises((ValueError, ImageReadError), match=words):
            read(path)


@pytest.mark.parametrize("flat", [True, False])
def test_a_colour_nrrd_is_the_picture_it_shows(tmp_path, flat):
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = itk.image_from_array(values if flat else values[None], is_vector=True)
    itk.imwrite(image, str(tmp_path / "a.nrrd"), compression=True)
    read = LoadImage2D()(provide(tmp_path / "a.nrrd", tmp_path / "out", "a"))
    np.testing.assert_allclose(read.numpy(), values.transpose(2, 0, 1) / 255, rtol=1e-6)
