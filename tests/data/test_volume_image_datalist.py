"""What is predicted: volumes, and images whose channels have files of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from medssm_monai.data import DatalistError, image_datalist

from .builders import picture, save
from .volume_builders import classes, save_volume, volume

NAMES = ["a", "b", "c"]
CHANNELS = ["t1", "FLAIR"]


def short(items):
    """Names of the files of each item."""
    images = [item["image"] if isinstance(item["image"], list) else [item["image"]] for item in items]
    return {item["name"]: [Path(file).name for file in files] for item, files in zip(items, images, strict=True)}


@pytest.fixture
def numbered(tmp_path):
    for name in NAMES:
        for number in range(2):
            save_volume(volume(), tmp_path / f"{name}_000{number}.nii.gz")
    return tmp_path


@pytest.mark.parametrize("channel_names", [None, CHANNELS])
def test_nnunets_numbers(numbered, channel_names):
    expected = {name: [f"{name}_0000.nii.gz", f"{name}_0001.nii.gz"] for name in NAMES}
    items = image_datalist(numbered, 3, channel_names)
    assert short(items) == expected
    assert all(isinstance(item["image"], list) for item in items)


def test_a_folder_of_nnunets_test_images(numbered, tmp_path):
    (tmp_path / "data" / "imagesTs").mkdir(parents=True)
    for path in numbered.glob("*.nii.gz"):
        path.rename(tmp_path / "data" / "imagesTs" / path.name)
    assert set(short(image_datalist(tmp_path / "data", 3, CHANNELS))) == set(NAMES)


def test_one_channel_is_one_file(tmp_path):
    for name in NAMES:
        save_volume(volume(), tmp_path / f"{name}_0000.nii.gz")
    for names in (None, ["CT"]):
        items = image_datalist(tmp_path, 3, names)
        assert items[0] == {"image": str(tmp_path / "a_0000.nii.gz"), "name": "a"}


def test_frames_are_no_channels(tmp_path):
    for number in range(3):
        save(picture(), tmp_path / "pictures" / f"frame_{number:04d}.png")
        save_volume(volume(), tmp_path / "volumes" / f"scan_{number:04d}.nii.gz")
    assert len(image_datalist(tmp_path / "pictures")) == 3
    assert len(image_datalist(tmp_path / "pictures", 2, ["gray"])) == 3
    assert len(image_datalist(tmp_path / "volumes", 3)) == 3
    assert len(image_datalist(tmp_path / "volumes", 3, CHANNELS)) == 3


@pytest.mark.parametrize("separator", ["_", "-"])
@pytest.mark.parametrize("folders", [True, False])
def test_names_of_channels(tmp_path, separator, folders):
    for name in NAMES:
        folder = tmp_path / name if folders else tmp_path
        for channel in ("flair", "t1"):
            save_volume(volume(), folder / f"{name}{separator}{channel}.nii.gz")
        if folders:
            save_volume(classes(), folder / f"{name}{separator}seg.nii.gz")
    expected = {name: [f"{name}{separator}{channel}.nii.gz" for channel in ("t1", "flair")] for name in NAMES}
    assert short(image_datalist(tmp_path, 3, CHANNELS)) == expected
    for name, channel in (("a", "t1"), ("c", "flair")):
        ((tmp_path / name if folders else tmp_path) / f"{name}{separator}{channel}.nii.gz").unlink()
    with pytest.raises(DatalistError) as caught:
        image_datalist(tmp_path, 3, CHANNELS)
    assert [(p.kind, Path(p.path).name, p.detail) for p in caught.value.problems] == [
        ("missing channels", "a", "no t1"),
        ("missing channels", "c", "no FLAIR"),
    ]


def test_missing_numbers_are_named_for_every_case(numbered):
    (numbered / "a_0001.nii.gz").unlink()
    (numbered / "b_0000.nii.gz").unlink()
    with pytest.raises(DatalistError, match=r"missing channels \(2\)(.|\n)*_0001 \(FLAIR\)(.|\n)*_0000 \(t1\)"):
        image_datalist(numbered, 3, CHANNELS)


def test_files_that_hold_all_channels(tmp_path):
    for name in NAMES:
        save_volume(volume(shape=(4, 4, 4, 2)), tmp_path / f"{name}.nii.gz")
    items = image_datalist(tmp_path, 3, CHANNELS)
    assert short(items) == {name: [f"{name}.nii.gz"] for name in NAMES}
    assert image_datalist(tmp_path / "a.nii.gz", 3, CHANNELS) == items[:1]


def test_color_pictures_with_names_of_channels(tmp_path):
    for name in NAMES:
        save(picture(), tmp_path / f"{name}.png")
    assert image_datalist(tmp_path, 2, ["R", "G", "B"]) == image_datalist(tmp_path)


def test_tables(numbered):
    rows = [f"{name}_0000.nii.gz,{name}_0001.nii.gz" for name in NAMES]
    (numbered / "list.csv").write_text("\n".join(["T1,flair", *rows]))
    items = image_datalist(numbered / "list.csv", 3, CHANNELS)
    assert [item["image"] for item in items] == [
        [str(numbered / f"{name}_0000.nii.gz"), str(numbered / f"{name}_0001.nii.gz")] for name in NAMES
    ]
    (numbered / "named.csv").write_text("\n".join(["t1,flair,name", *(f"{row},case {row[0]}" for row in rows)]))
    assert [item["name"] for item in image_datalist(numbered / "named.csv", 3, CHANNELS)] == [
        "case a",
        "case b",
        "case c",
    ]
    (numbered / "one.csv").write_text("image\na_0000.nii.gz")
    assert len(image_datalist(numbered / "one.csv", 3, CHANNELS)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t1\na_0000.nii.gz", r"lacks the column\(s\) FLAIR"),
        ("t1,flair\na_0000.nii.gz,", "row 2 .no FLAIR"),
        ("t1,flair\na_0000.nii.gz,b.nii.gz", "file not found"),
        ("t1,flair\na_0000.nii.gz,a_0001.nii.gz\na_0000.nii.gz,a_0001.nii.gz", "two files with one name"),
        ("t1,flair", "no image below the header"),
        ("t1,flair,name\na_0000.nii.gz,a_0001.nii.gz,../a", r"name that no file can have(.|\n)*row 2(.|\n)*\.\./a"),
        ("t1,flair,name\na_0000.nii.gz,a_0001.nii.gz,a:b", "name that no file can have"),
    ],
)
def test_broken_tables(numbered, text, message):
    (numbered / "list.csv").write_text(text)
    with pytest.raises(DatalistError, match=message):
        image_datalist(numbered / "list.csv", 3, CHANNELS)


def test_names_that_are_none(numbered):
    with pytest.raises(ValueError, match="channel_names are different names"):
        image_datalist(numbered, 3, ["t1", "t1"])
