"""Labels of DICOM archives: the label map that training sees is the known array, voxel by voxel."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from nibabel.processing import resample_from_to

from medssm_monai.data import LabelSet, segmentation_datalists
from medssm_monai.data.readers.channels import read_channels
from medssm_monai.transforms import LoadImage2D, LoadImageVolume, LoadLabels

from .archives import OBLIQUE, picture, segmentation, series, structure_set
from .objects import frames, require_libraries, series_of, turned

require_libraries()
SIZE = (13, 11, 9)
LABELS = {"liver": 1, "tumor": 2}
ALL = {"fractions": (1.0, 0.0, 0.0), "require": ("training",)}
REAL = Path(os.environ.get("MEDSSM_DATA", "")) / "dicom_t1_series"


def values(seed: int = 0, size=SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 900, size)


def label_map(seed: int = 0, size=SIZE) -> np.ndarray:
    """Two classes in scattered voxels, and whole slices without any."""
    found = np.random.default_rng(seed + 100).choice([0, 0, 0, 1, 2], size)
    found[..., [0, 3, 4]] = 0
    return found.astype(np.int32)


def planes(mask: np.ndarray) -> np.ndarray:
    """(X, Y, Z) as (slices, rows, columns)."""
    return mask.transpose(2, 1, 0)


def of_classes(labels: np.ndarray, names=LABELS) -> dict[str, np.ndarray]:
    return {name: planes(labels == value) for name, value in names.items()}


def items_of(root: Path, labels=LABELS, spatial_dims: int = 3, **options):
    return segmentation_datalists(root, "dicom", labels=labels, spatial_dims=spatial_dims, **{**ALL, **options})[
        "training"
    ]


def seen(item, labels=LABELS, spatial_dims: int = 3) -> np.ndarray:
    """Values that the labels of an item have in training."""
    known = np.array(LabelSet.of(labels).known)
    return known[LoadLabels(labels, spatial_dims)(item["label"])[0].numpy().astype(int)]


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("orientation", [turned(0), OBLIQUE, -OBLIQUE[::-1]], ids=["axial", "oblique", "turned back"])
def test_labels_and_voxels_are_the_known_arrays(tmp_path, orientation, flipped):
    made = series(tmp_path / "im", values(), orientation=orientation, flipped=flipped)
    segmentation(tmp_path / "deep" / "in" / "seg", made, of_classes(label_map()))
    (item,) = items_of(tmp_path)
    image = LoadImageVolume(1)(item["image"])
    label = LoadLabels(LABELS, 3)(item["label"])
    assert np.array_equal(image[0].numpy(), values())
    assert np.array_equal(seen(item), label_map())
    assert np.array_equal(image.affine, label.affine)
    assert item["name"] == made[0].SeriesInstanceUID and "ID-4711" not in item["group"]


def test_the_predictor_reads_the_same_voxels(tmp_path):
    made = series(tmp_path / "im", values())
    segmentation(tmp_path / "seg.dcm", made, of_classes(label_map()))
    (item,) = items_of(tmp_path)
    predicted = read_channels(series_of(tmp_path / "im").source)
    trained = read_channels(item["image"])
    assert np.array_equal(predicted, trained) and np.array_equal(predicted.affine, trained.affine)


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_other_kinds_of_segmentations(tmp_path, kind):
    made, labels = series(tmp_path / "im", values()), label_map()
    masks = of_classes(labels)
    if kind == "FRACTIONAL":
        masks = {name: np.where(mask, 0.6, 0.4).astype(np.float32) for name, mask in masks.items()}
    else:
        masks = {name: mask.astype(np.uint8) for name, mask in masks.items()}
    segmentation(tmp_path / "seg.dcm", made, masks, segmentation_type=kind)
    (item,) = items_of(tmp_path)
    assert np.array_equal(seen(item), labels)


def test_frames_at_every_third_slice_do_not_spread(tmp_path):
    """An object that does not say how far slices are apart, and has frames on some of them alone."""
    made, labels = series(tmp_path / "im", values()), label_map()
    labels[..., [1, 2, 5, 7, 8]] = 0
    labels[3:6, 4:7, [0, 3, 6]] = 1
    seg = segmentation(tmp_path / "seg.dcm", made, of_classes(labels))
    for group in (*seg.SharedFunctionalGroupsSequence, *seg.PerFrameFunctionalGroupsSequence):
        for measures in group.get("PixelMeasuresSequence", []):
            measures.pop("SpacingBetweenSlices", None)
    seg.save_as(tmp_path / "seg.dcm")
    (item,) = items_of(tmp_path)
    assert np.array_equal(seen(item), labels)


def test_enhanced_images(tmp_path):
    import pydicom

    path = frames(tmp_path / "im", OBLIQUE, size=(5, 10, 7))
    one = series_of(path)
    labels = label_map(size=(7, 10, 5))
    labels[2:5, 3, 3] = 1
    stored = np.empty_like(planes(labels))
    stored[list(one.frames)] = planes(labels)
    masks = {name: stored == value for name, value in LABELS.items()}
    segmentation(tmp_path / "seg.dcm", [pydicom.dcmread(path)], masks)
    (item,) = items_of(tmp_path)
    assert list(one.frames) != sorted(one.frames)  # stored against their normal
    assert np.array_equal(seen(item), labels)


@pytest.mark.parametrize("same_place", [True, False])
def test_another_grid_is_resampled_in_the_same_place_and_refused_elsewhere(tmp_path, same_place):
    """Half as many voxels, turned: what nibabel makes of it by the nearest neighbor."""
    import highdicom

    made = series(tmp_path / "im", values(), orientation=turned(0))
    coarse = np.zeros((7, 6, 5), np.uint8)  # slices, rows, columns
    coarse[2:5, 1:4, 2:4] = 1
    geometry = highdicom.VolumeGeometry.from_attributes(
        image_position=[-19.3, 14.6, 30.1],  # frames run downwards
        image_orientation=turned(8).ravel().tolist(),
        rows=6,
        columns=5,
        pixel_spacing=[1.9, 2.7],
        spacing_between_slices=4.1,
        number_of_frames=7,
        coordinate_system="PATIENT",
        frame_of_reference_uid=made[0].FrameOfReferenceUID,
    )
    seg = segmentation(tmp_path / "seg.dcm", made, {"liver": coarse}, geometry=geometry)
    if not same_place:
        seg.FrameOfReferenceUID = "1.2.3.4"
        seg.save_as(tmp_path / "seg.dcm")
        with pytest.raises(ValueError, match="(?s)segmentation on another grid.*another frame of reference"):
            items_of(tmp_path, {"liver": 1})
        return
    (item,) = items_of(tmp_path, {"liver": 1})
    lps = np.asarray(geometry.affine)[:, [2, 1, 0, 3]]
    own = nib.Nifti1Image(planes(coarse), np.diag([-1.0, -1, 1, 1]) @ lps)
    wanted = resample_from_to(own, (SIZE, item["image"].affine), order=0, mode="grid-constant")
    assert np.asarray(wanted.dataobj).sum() > 50
    assert np.array_equal(seen(item, {"liver": 1}), np.asarray(wanted.dataobj))


def test_contours_against_matplotlib(tmp_path):
    """A region with a hole in it, one of two parts, on an oblique series."""
    made = series(tmp_path / "im", values(size=(40, 36, 6)))
    affine = series_of(tmp_path / "im").affine
    angles = np.linspace(0, 2 * np.pi, 23, endpoint=False)
    ring = lambda x, y, r: np.stack([x + r * np.cos(angles), y + 0.8 * r * np.sin(angles)], 1)  # noqa: E731
    drawn = {
        "Liver": [(2, ring(15.3, 14.1, 9.2)), (2, ring(15.3, 14.1, 4.3)), (3, ring(14.2, 13.7, 8.1))],
        "Tumor": [(3, ring(29.6, 25.2, 5.7)), (3, ring(29.1, 8.3, 4.4))],
    }
    inside = np.stack(np.meshgrid(np.arange(40), np.arange(36), indexing="ij"), -1).reshape(-1, 2)
    wanted = np.zeros((40, 36, 6), int)
    regions = {}
    for value, (name, contours) in enumerate(drawn.items(), start=1):
        mask = np.zeros(wanted.shape, bool)
        for place, points in contours:
            mask[..., place] ^= Polygon(points).contains_points(inside).reshape(40, 36)
        wanted[mask] = value
        voxels = [
            np.column_stack([points, np.full(len(points), place), np.ones(len(points))]) for place, points in contours
        ]
        regions[name] = [(points @ (np.diag([-1.0, -1, 1, 1]) @ affine).T)[:, :3] for points in voxels]
    structure_set(tmp_path / "rt.dcm", made, regions)
    (item,) = items_of(tmp_path)
    assert np.bincount(wanted.ravel())[1:].min() > 100
    assert np.array_equal(seen(item), wanted)


def test_contours_beside_the_slices_are_refused(tmp_path):
    made = series(tmp_path / "im", values(), orientation=turned(0))
    points = np.array([[-18.0, 17, 8.4], [-12, 17, 8.4], [-12, 20, 8.4]])  # slices at 7, 10, 13, ... mm
    structure_set(tmp_path / "rt.dcm", made, {"liver": [points]})
    with pytest.raises(ValueError, match=r"(?s)another grid.*1 of 1 contours of region 1 lie up to 0\.47 of the gap"):
        items_of(tmp_path, {"liver": 1})


def test_photographs_without_a_place(tmp_path):
    shown = np.random.default_rng(0).integers(0, 255, (20, 16, 3), dtype=np.uint8)
    photo = picture(tmp_path / "photo.dcm", shown)
    mask = np.zeros((1, 20, 16), bool)
    mask[0, 3:9, 2:12] = True
    segmentation(tmp_path / "photo_seg.dcm", [photo], {"Lesion": mask})
    (item,) = items_of(tmp_path, None, 2)
    assert item["name"] == photo.SOPInstanceUID
    assert np.array_equal(seen(item, {"lesion": "foreground"}, 2), mask[0])
    image = LoadImage2D(channels=3)(item["image"]).numpy()
    assert np.allclose(image, shown.transpose(2, 0, 1) / 255, atol=1e-6)


def test_the_frame_of_a_cine_that_a_segmentation_names(tmp_path):
    from copy import deepcopy

    stored = np.random.default_rng(0).integers(0, 255, (3, 20, 16), dtype=np.uint8)
    cine = picture(tmp_path / "cine.dcm", stored, kind="USM", NumberOfFrames=3)
    one = deepcopy(cine)
    one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.4"  # as if the frame were a picture of its own
    del one.NumberOfFrames
    mask = np.zeros((1, 20, 16), bool)
    mask[0, 3:9, 2:12] = True
    seg = segmentation(tmp_path / "seg.dcm", [one], {"lesion": mask})
    for group in seg.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedFrameNumber, source.ReferencedSOPClassUID = 2, cine.SOPClassUID
    seg.save_as(tmp_path / "seg.dcm")
    (item,) = items_of(tmp_path, None, 2)
    assert item["name"] == f"{cine.SOPInstanceUID}_frame2"
    assert np.array_equal(seen(item, {"lesion": "foreground"}, 2), mask[0])
    assert np.allclose(LoadImage2D(channels=1)(item["image"])[0], stored[1] / 255, atol=1e-6)


def test_a_slice_alone_is_a_picture_by_its_place(tmp_path):
    made = series(tmp_path / "im", values(size=(13, 11, 1)))
    labels = np.zeros((13, 11, 1), int)
    labels[2:6, 3:8] = 1
    seg = segmentation(tmp_path / "seg.dcm", made, {"liver": planes(labels == 1)})
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    seg.save_as(tmp_path / "seg.dcm")
    (item,) = items_of(tmp_path, {"liver": 1}, 2)
    assert np.array_equal(seen(item, {"liver": 1}, 2), labels[..., 0].T)


def test_classes_by_label_code_and_in_several_objects(tmp_path):
    """One class by its label, one by the meaning of its code, one by the code; segments of one class are one."""
    from pydicom.sr.codedict import codes

    made, labels = series(tmp_path / "im", values()), np.random.default_rng(5).choice(5, SIZE)
    types = {"s1": codes.SCT.Kidney, "s2": codes.SCT.Spleen}
    first = {"LIVER": labels == 1, "s1": labels == 2, "left-lung": labels == 4}
    segmentation(tmp_path / "a.dcm", made, {k: planes(v) for k, v in first.items()}, codes=types)
    second = {"s2": labels == 3, "Left lung": np.zeros(SIZE, bool)}
    segmentation(tmp_path / "b.dcm", made, {k: planes(v) for k, v in list(second.items())[:1]}, codes=types)
    spleen = codes.SCT.Spleen
    names = {"liver": 1, "Kidney": 2, f"{spleen.scheme_designator}:{spleen.value}": 3, "left_lung": [4, 9]}
    (item,) = items_of(tmp_path, names)
    assert np.array_equal(seen(item, names), labels)


def test_regions_and_what_nobody_has_labeled(tmp_path):
    made, kinds = series(tmp_path / "im", values()), np.random.default_rng(5).choice([0, 1, 2, 3], SIZE)
    regions = {"whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    masks = {name: planes(np.isin(kinds, np.atleast_1d(own))) for name, own in regions.items()}
    segmentation(tmp_path / "seg.dcm", made, masks)
    (item,) = items_of(tmp_path, regions)
    assert np.array_equal(seen(item, regions), kinds)
    partly = {"whole": 1, "ignore": 255}
    masks = {"whole": planes(kinds == 1), "Ignore": planes(kinds > 1)}
    segmentation(tmp_path / "seg.dcm", made, masks)
    (item,) = items_of(tmp_path, partly)
    assert np.array_equal(seen(item, partly), np.where(kinds > 1, 255, kinds))


def test_patients_stay_in_one_part_and_the_folder_is_recognized(tmp_path):
    groups = {}
    for number in range(12):
        made = series(tmp_path / f"{number}" / "im", values(number), f"P{number // 3}")
        segmentation(tmp_path / f"{number}" / "seg", made, of_classes(label_map(number)))
        groups[made[0].SeriesInstanceUID] = number // 3
    lists = segmentation_datalists(tmp_path, labels=LABELS, spatial_dims=3, fractions=(0.5, 0.25, 0.25))
    parts = [{groups[item["name"]] for item in items} for items in lists.values()]
    assert [len(part) for part in parts] == [2, 1, 1] and set.union(*parts) == {0, 1, 2, 3}


def test_channels_are_series_of_the_study_by_their_descriptions(tmp_path):
    """Each with an object of its own: one for the liver on one series, one for the tumor on another."""
    made = series(tmp_path / "a", values(0), SeriesDescription="AX T1 CE")
    same = {key: getattr(made[0], key) for key in ("StudyInstanceUID", "FrameOfReferenceUID")}
    second = series(tmp_path / "b", values(1), SeriesDescription="t1", flipped=True, **same)
    series(tmp_path / "c", values(2), SeriesDescription="Flair_tra", **same)
    series(tmp_path / "d", values(3), SeriesDescription="localizer", **same)
    masks = of_classes(label_map())
    segmentation(tmp_path / "seg", made, {"liver": masks["liver"]})
    segmentation(tmp_path / "seg2", second, {"tumor": masks["tumor"]})
    (item,) = items_of(tmp_path, channel_names=["flair", "t1", "t1_ce"])
    image = LoadImageVolume(3)(item["image"])
    assert np.array_equal(image, np.stack([values(seed) for seed in (2, 1, 0)]))
    assert np.array_equal(seen(item), label_map())


def test_prepared_items_lie_on_disk_and_follow_the_files(tmp_path):
    from monai.transforms import Compose

    from medssm_monai.data import cached_dataset
    from medssm_monai.transforms import LoadImageVolumed, LoadLabelsd

    made = series(tmp_path / "in" / "im", values())
    segmentation(tmp_path / "in" / "seg.dcm", made, of_classes(label_map()))
    folder = tmp_path / "cache"

    def labels_of_a_run() -> np.ndarray:
        steps = Compose([LoadImageVolumed("image", 1), LoadLabelsd("label", LABELS, 3)])
        data = cached_dataset(items_of(tmp_path / "in"), steps, cache_gib=0, cache_dir=folder)
        assert np.array_equal(data[0]["image"][0], values())
        return np.asarray(data[0]["label"][0])

    assert np.array_equal(labels_of_a_run(), label_map()) and np.array_equal(labels_of_a_run(), label_map())
    assert len(list(folder.rglob("*.pt"))) == 1
    segmentation(tmp_path / "in" / "seg.dcm", made, of_classes(label_map(1)))
    assert np.array_equal(labels_of_a_run(), label_map(1))


def test_a_public_segmentation_is_understood_without_its_images(tmp_path):
    """pydicom's liver.dcm, made by another program."""
    from pydicom.data import get_testdata_file

    series(tmp_path / "im", values())
    (tmp_path / "liver.dcm").write_bytes(Path(get_testdata_file("liver.dcm")).read_bytes())
    with pytest.raises(ValueError, match=r"(?s)segmentation without image.*liver\.dcm") as raised:
        items_of(tmp_path)
    assert len(raised.value.problems) == 1


def test_one_class_takes_every_segment_only_of_one_name_or_by_request(tmp_path):
    made = series(tmp_path / "im", values())
    segmentation(tmp_path / "seg.dcm", made, of_classes(label_map()))
    with pytest.raises(ValueError, match=r"(?s)segments of several names.*liver, tumor"):
        items_of(tmp_path, None)
    (item,) = items_of(tmp_path, None, foreground="nonzero")
    assert np.array_equal(seen(item, {"lesion": "foreground"}), label_map() > 0)
    (item,) = items_of(tmp_path, {"tumor": "foreground"})
    assert np.array_equal(seen(item, {"tumor": "foreground"}), label_map() == 2)
    with pytest.raises(ValueError, match=r"foreground='half'.*names and no values"):
        items_of(tmp_path, None, foreground="half")


@pytest.mark.skipif(not REAL.is_dir(), reason="MEDSSM_DATA does not name a folder with dicom_t1_series")
def test_a_real_series(tmp_path):
    import pydicom

    (tmp_path / "im").symlink_to(REAL, target_is_directory=True)
    one = series_of(REAL)
    volume = read_channels(one.source)[0].numpy()
    labels = np.where(volume > np.percentile(volume, 90), 1, 0) + np.where(volume < np.percentile(volume, 20), 2, 0)
    sources = [pydicom.dcmread(path) for path in one.files]
    segmentation(tmp_path / "own" / "seg.dcm", sources, of_classes(labels))
    for path in one.files:
        (tmp_path / "own" / path.name).symlink_to(path)
    (item,) = items_of(tmp_path / "own")
    assert np.array_equal(read_channels(item["image"])[0].numpy(), volume)
    assert np.array_equal(seen(item), labels)
