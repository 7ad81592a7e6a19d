"""Bad input to Mamba-MIS for volumes and several classes: one clear error that names the files and the remedy, or the
right result."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

import medssm_monai
from medssm_monai.bundle import build_network, write_model_settings
from medssm_monai.data import DatalistError, ImageReadError

from .bundle_runs import MAMBA_MIS, failing
from .class_sets import AFFINE, FOUR, ONE, REGIONS, ClassSet

PICTURES, VOLUMES = ClassSet("pictures", 2, FOUR), ClassSet("volumes", 3, FOUR)
TWO_CHANNELS = ClassSet("two channels", 3, REGIONS, channels=2)
ONE_VOLUME = ClassSet("one class", 3, ONE)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Folder of a set of three cases, written once; tests take copies."""
    kept: dict[str, Path] = {}

    def copy(case: ClassSet, target: Path) -> Path:
        if case.name not in kept:
            kept[case.name] = case.write(tmp_path_factory.mktemp("sets") / "data", count=5)
        return Path(shutil.copytree(kept[case.name], target))

    return copy


def train(case: ClassSet, data: Path, out: Path, **more):
    options = {"dataset_dir": str(data), "run_name": "run", **case.tiny, **more}
    return MAMBA_MIS.run(case.overlays, out, **options)


def weights(case: ClassSet, folder: Path, **more) -> str:
    """Random weights for a set, with their settings beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny = case.tiny
    settings = {
        "variant": "mamba_mis_s" if case.spatial_dims == 2 else "mamba_mis_3d_s",
        "spatial_dims": case.spatial_dims,
        "labels": {name: value for name, value in case.labels.items() if name != "background"},
        "label_colors": None,
        "channel_names": None,
        "in_channels": 3 if case.spatial_dims == 2 else case.channels,
        "image_size": tiny["image_size"],
        "mean": 0.5,
        "std": 0.25,
        "spacing": None,
        "intensity": None if case.spatial_dims == 2 else [{"kind": "zscore"}] * case.channels,
        "network_args": tiny["network_args"],
        **more,
    }
    torch.manual_seed(0)
    network = build_network(settings["variant"], settings)
    torch.save(network.state_dict(), folder / "model.pt")
    write_model_settings(folder / "model.pt", settings)
    return str(folder / "model.pt")


def infer(ckpt: str, source: Path, out: Path, **more):
    options = {"dataset_dir": str(source), "ckpt_path": ckpt, "device": "cpu", **more}
    return MAMBA_MIS.run(("inference.yaml",), out, "infer", **options)


def evaluate(case: ClassSet, ckpt: str, data: Path, out: Path, **more):
    options = {"dataset_dir": str(data), "ckpt_path": ckpt, "part": "all", "run_name": "all", "device": "cpu"}
    options |= {"split": "by_name", **more}
    return MAMBA_MIS.run((*case.overlays, "evaluate.yaml"), out, **options)


def failures(out: Path) -> dict[str, str]:
    with open(out / "failed.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    return {Path(row[0]).name: " ".join(row[1:]) for row in rows[1:]}


def rewrite(path: Path, change) -> None:
    """Replace the values of a volume or picture by what ``change`` makes of them."""
    if path.name.endswith(".nii.gz"):
        image = nib.load(path)
        values = change(np.asarray(image.dataobj))
        nib.save(nib.Nifti1Image(values, image.affine), path)
    else:
        Image.fromarray(change(np.array(Image.open(path)))).save(path)


def label(data: Path, number: int) -> Path:
    return next((data / "labelsTr").glob(f"case_{number:02d}.*"))


def image(data: Path, number: int, channel: int = 0) -> Path:
    return next((data / "imagesTr").glob(f"case_{number:02d}_{channel:04d}.*"))


# ---- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [PICTURES, VOLUMES], ids=str)
def test_values_without_a_name_are_said_of_every_file(case, prepared, tmp_path):
    data = prepared(case, tmp_path / "data")
    for number in (1, 3):
        rewrite(label(data, number), lambda values: np.where(values == 2, 7, values).astype(np.uint8))
    with failing(DatalistError, r"unknown labels.*--?labels|labels.*case_01.*7 \(.*case_03.*7 \(") as _:
        train(case, data, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["liver", "spleen"]}, r"names with the values.*\['liver', 'spleen'\]"),
        ({"labels": "liver"}, "names with the values.*auto.*'liver'"),
        ({"labels": {"liver": "1"}}, "'liver' has the value '1'"),
        ({"labels": {"liver": 1.5}}, "'liver' has the value 1.5"),
        ({"labels": {"liver": 0}}, "'liver' has the value 0"),
        ({"labels": {"liver": 1, "spleen": 1}}, "same values"),
        ({"labels": {}}, "0 classes"),
        ({"label_colors": [[255, 0, 0]]}, r"label_colors needs.*liver, spleen, kidney, tumor.*\[\[255, 0, 0\]\]"),
        ({"label_colors": [255, 0, 0]}, "label_colors needs"),
        ({"class_weights": [1, 2]}, "class_weights needs 5 positive numbers"),
        ({"class_weights": [1, 2, 3, 4, 0]}, "class_weights needs 5 positive numbers"),
        ({"network_args": {**PICTURES.tiny["network_args"], "out_channels": 7}}, "out_channels.*leave them out"),
        ({"image_size": [33, 32]}, r"33.*multiple"),
        ({"image_size": [32, 32, 32]}, "image_size is.*expected 2 whole numbers"),
        ({"spatial_dims": 4}, "spatial_dims is 4; expected 2"),
        ({"spatial_dims": 3}, "expected 3 whole numbers of pixels, as spatial_dims"),
        ({"flip_axes": [0, 2]}, r"flip_axes is \[0, 2\].*0, 1"),
        ({"flip_axes": [-1]}, r"flip_axes is \[-1\].*0, 1"),
    ],
)
def test_settings_of_pictures(prepared, tmp_path, options, message):
    data = prepared(PICTURES, tmp_path / "data")
    with failing(ValueError, message):
        train(PICTURES, data, tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": [20, 16, 16]}, r"20.*multiple"),
        ({"image_size": [32, 32]}, "image_size is.*expected 3 whole numbers"),
        ({"spacing": [1, 1]}, "spacing must be"),
        ({"spacing": [1, 0, 1]}, "spacing must be"),
        ({"spacing": "coarse"}, "spacing must be"),
        ({"spacing": 1.5}, "spacing must be"),
        ({"intensity": [{"kind": "zscore"}] * 2}, "intensity"),
        ({"intensity": [{"kind": "mri"}]}, "intensity.*zscore.*mri"),
        ({"intensity": "ct"}, "intensity must be"),
        ({"in_channels": 3}, "channel"),
        ({"channel_names": ["t1", "t2"]}, "channel"),
        ({"spatial_dims": 2}, "expected 2 whole numbers of pixels, as spatial_dims"),
        ({"spatial_dims": 2, "image_size": 32, "flip_axes": [0]}, "volume among pictures.*volume.yaml"),
        ({"patches_per_volume": 0}, "patches_per_volume|num_samples"),
        ({"cache_gib": -1}, "cache_gib"),
        ({"foreground": "nonzero"}, "foreground"),
    ],
)
def test_settings_of_volumes(prepared, tmp_path, options, message):
    data = prepared(VOLUMES, tmp_path / "data")
    with failing((ValueError, ImageReadError), message):
        train(VOLUMES, data, tmp_path / "out", **options)


# ---- dimensions ------------------------------------------------------------------------------------------------------


def test_pictures_for_the_overlay_of_volumes(prepared, tmp_path):
    data = prepared(PICTURES, tmp_path / "data")
    with failing(DatalistError, "picture among volumes|one (RGB )?file|spatial_dims"):
        train(VOLUMES, data, tmp_path / "out")


def test_volumes_for_the_config_of_pictures(prepared, tmp_path):
    data = prepared(VOLUMES, tmp_path / "data")
    with failing(DatalistError, "volume among pictures.*case_00.*volume.yaml|volume.yaml.*case_00"):
        train(PICTURES, data, tmp_path / "out")


@pytest.mark.parametrize("case", [PICTURES, VOLUMES], ids=str)
def test_inference_of_the_other_dimensions(case, prepared, tmp_path):
    other = VOLUMES if case is PICTURES else PICTURES
    data = prepared(other, tmp_path / "data")
    ckpt = weights(case, tmp_path / "weights")
    with failing(ImageReadError, f"the image has {other.spatial_dims} dimensions.*images of {case.spatial_dims}"):
        infer(ckpt, data / "imagesTr", tmp_path / "out")
    predictor = medssm_monai.load(MAMBA_MIS.folder, ckpt_path=ckpt, device="cpu")
    with pytest.raises(ImageReadError, match="spatial_dims|dimensions|volume"):
        predictor.predict(image(data, 0))


@pytest.mark.parametrize("case", [PICTURES, VOLUMES], ids=str)
def test_a_mixed_folder_is_done_as_far_as_it_fits(case, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    drawn = VOLUMES.sample(0)[0]
    nib.save(nib.Nifti1Image(drawn[0].astype(np.int16), AFFINE), folder / "volume.nii.gz")
    nib.save(nib.Nifti1Image(drawn[0, :, :, :1].astype(np.int16), AFFINE), folder / "slice.nii.gz")
    Image.fromarray(PICTURES.sample(0)[0][0].astype(np.uint8)).save(folder / "picture.png")
    infer(weights(case, tmp_path / "weights"), folder, tmp_path / "out")
    wrong = {"volume.nii.gz"} if case is PICTURES else {"slice.nii.gz", "picture.png"}
    found = failures(tmp_path / "out")
    assert set(found) == wrong and all("spatial_dims" in reason or "volume" in reason for reason in found.values())
    done = {path.name.split(".")[0] for path in (tmp_path / "out").iterdir() if path.suffix in (".gz", ".png")}
    assert done == {"volume", "slice", "picture"} - {name.split(".")[0] for name in wrong}


# ---- channels --------------------------------------------------------------------------------------------------------


def test_a_missing_channel_file(prepared, tmp_path):
    data = prepared(TWO_CHANNELS, tmp_path / "data")
    image(data, 1, 1).unlink()
    image(data, 3, 0).unlink()
    with failing(DatalistError, "missing channels.*case_01.*case_03"):
        train(TWO_CHANNELS, data, tmp_path / "out")
    ckpt = weights(TWO_CHANNELS, tmp_path / "weights", channel_names=["t1", "t2"])
    with failing(DatalistError, "missing channels.*case_01.*case_03"):
        infer(ckpt, data / "imagesTr", tmp_path / "out2")


def _stacked(folder: Path, channels: list[int]) -> Path:
    """A set whose volumes have so many channels on the fourth axis, with labels of one class, in a plain folder."""
    for number, count in enumerate(channels):
        drawn, mask = ONE_VOLUME.sample(number)
        values = np.repeat(drawn[0, ..., None], count, -1).astype(np.float32)
        for name, array in (("images", values if count > 1 else values[..., 0]), ("masks", mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, AFFINE), folder / name / f"case_{number}.nii.gz")
    return folder


def test_one_case_with_another_number_of_channels(tmp_path):
    data = _stacked(tmp_path / "data", [2, 2, 2, 1, 2])
    with failing(DatalistError, "unequal channels.*case_3.*1 channel, expected 2"):
        train(ONE_VOLUME, data, tmp_path / "out", labels={"tumor": 1}, in_channels=2)
    ckpt = weights(ONE_VOLUME, tmp_path / "w", in_channels=2, intensity=[{"kind": "zscore"}] * 2)
    infer(ckpt, data / "images", tmp_path / "masks")
    (name,) = failures(tmp_path / "masks")
    assert name == "case_3.nii.gz"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: nib.Nifti1Image(np.asarray(i.dataobj)[:-1], i.affine), "unequal sizes.*case_02.*case_02_0001"),
        (
            lambda i: nib.Nifti1Image(np.asarray(i.dataobj), i.affine + np.diag([0, 0, 0.5, 0])),
            "unequal geometry.*case_02.*spacing",
        ),
        (
            lambda i: nib.Nifti1Image(np.asarray(i.dataobj), np.diag([-1, 1, 1, 1]) @ i.affine),
            "unequal geometry.*case_02.*orientation",
        ),
    ],
    ids=["shape", "spacing", "orientation"],
)
def test_channels_that_do_not_lie_on_each_other(prepared, tmp_path, change, message):
    data = prepared(TWO_CHANNELS, tmp_path / "data")
    path = image(data, 2, 1)
    nib.save(change(nib.load(path)), path)
    with failing(DatalistError, message):
        train(TWO_CHANNELS, data, tmp_path / "out")
    ckpt = weights(TWO_CHANNELS, tmp_path / "weights", channel_names=["t1", "t2"])
    infer(ckpt, data / "imagesTr", tmp_path / "masks")
    ((name, reason),) = failures(tmp_path / "masks").items()
    assert "case_02" in name and "resample" in reason
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == 4


# ---- values and headers ----------------------------------------------------------------------------------------------


def _header(path: Path, **fields) -> None:
    """Overwrite fields of a NIfTI header as they lie in the file; nibabel would repair some."""
    block = bytearray(gzip.decompress(path.read_bytes()))
    header = np.frombuffer(block[:348], dtype=nib.Nifti1Header.template_dtype).copy()
    for name, value in fields.items():
        if name == "pixdim":
            header["pixdim"][0][1 : 1 + len(value)] = value
        else:
            header[name] = value
    block[:348] = header.tobytes()
    path.write_bytes(gzip.compress(bytes(block)))


@pytest.mark.parametrize("sizes", [[0, 1, 1], [1, np.nan, 1]], ids=["zero", "NaN"])
def test_a_spacing_that_is_none(prepared, tmp_path, sizes):
    data = prepared(ONE_VOLUME, tmp_path / "data")
    for path in (image(data, 1), label(data, 1), image(data, 2)):
        _header(path, pixdim=sizes, qform_code=1, sform_code=0)
    with failing(DatalistError, "no spacing.*case_01_0000.*case_02_0000"):
        train(ONE_VOLUME, data, tmp_path / "out")


def test_volumes_without_a_place_are_warned_of(prepared, tmp_path, caplog):
    data = prepared(ONE_VOLUME, tmp_path / "data")
    for number in range(5):
        for path in (image(data, number), label(data, number)):
            _header(path, pixdim=[1, 1, 2], qform_code=0, sform_code=0)
    train(ONE_VOLUME, data, tmp_path / "out")
    assert "say their spacing and not their place" in caplog.text
    infer(str(tmp_path / "out" / "models" / "model.pt"), data / "imagesTr", tmp_path / "masks")
    written = nib.load(next((tmp_path / "masks").glob("case_00*.nii.gz")))
    before = nib.load(image(data, 0))
    np.testing.assert_allclose(written.affine, before.affine)
    assert [int(written.header[key]) for key in ("qform_code", "sform_code")] == [0, 0]


@pytest.mark.parametrize("case", [ONE_VOLUME, VOLUMES, TWO_CHANNELS], ids=str)
def test_flat_volumes(case, tmp_path):
    """One axis is shorter than the window, and than the strides' product."""
    data = tmp_path / "data"
    case.write(data, count=5)
    for path in [*(data / "imagesTr").iterdir(), *(data / "labelsTr").iterdir()]:
        rewrite(path, lambda values: values[:, :, 12:17])
    train(case, data, tmp_path / "out")
    infer(str(tmp_path / "out" / "models" / "model.pt"), data / "imagesTr", tmp_path / "masks")
    assert nib.load(next((tmp_path / "masks").glob("case_00*.nii.gz"))).shape == (36, 30, 5)


def test_a_volume_of_zeros(prepared, tmp_path):
    data = prepared(VOLUMES, tmp_path / "data")
    for number in range(2):
        rewrite(image(data, number), np.zeros_like)
    train(VOLUMES, data, tmp_path / "out")
    infer(str(tmp_path / "out" / "models" / "model.pt"), data / "imagesTr", tmp_path / "masks")
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == 5
    evaluate(VOLUMES, str(tmp_path / "out" / "models" / "model.pt"), data, tmp_path / "scores")


def test_nan_in_volumes(prepared, tmp_path):
    data = prepared(ONE_VOLUME, tmp_path / "data")
    for number in (1, 4):
        path = image(data, number)
        broken = np.asarray(nib.load(path).dataobj).astype(np.float32)
        broken[3, 4, 5] = np.nan
        nib.save(nib.Nifti1Image(broken, AFFINE), path)
    with failing(DatalistError, "NaN or infinite.*repair.*case_01.*case_04"):
        train(ONE_VOLUME, data, tmp_path / "out")
    infer(weights(ONE_VOLUME, tmp_path / "w"), data / "imagesTr", tmp_path / "masks")
    found = failures(tmp_path / "masks")
    assert set(found) == {"case_01_0000.nii.gz", "case_04_0000.nii.gz"} and "NaN" in " ".join(found.values())


# ---- what is labeled -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [PICTURES, VOLUMES, TWO_CHANNELS], ids=str)
def test_cases_without_any_class_are_trained_and_scored(case, prepared, tmp_path):
    data = prepared(case, tmp_path / "data")
    for number in (0, 1):
        rewrite(label(data, number), np.zeros_like)
    train(case, data, tmp_path / "out")
    evaluate(case, str(tmp_path / "out" / "models" / "model.pt"), data, tmp_path / "scores")
    summary = json.loads((tmp_path / "scores" / "all" / "summary.json").read_text())
    for name in case.classes:
        assert 0 <= summary["classes"][name]["dice"]["mean"] <= 1


@pytest.mark.parametrize("case", [PICTURES, VOLUMES], ids=str)
def test_a_class_that_no_label_has_is_warned_of(case, prepared, tmp_path, caplog):
    data = prepared(case, tmp_path / "data")
    for number in range(5):
        rewrite(label(data, number), lambda values: np.where(values == 3, 0, values).astype(np.uint8))
    train(case, data, tmp_path / "out")
    assert "no label of the training part has kidney" in caplog.text


@pytest.mark.parametrize("case", [PICTURES, VOLUMES], ids=str)
def test_labels_that_are_all_empty(case, prepared, tmp_path):
    data = prepared(case, tmp_path / "data")
    for number in range(5):
        rewrite(label(data, number), np.zeros_like)
    with failing(DatalistError, "all masks empty.*labelsTr"):
        train(case, data, tmp_path / "out")


@pytest.mark.parametrize("dims", [2, 3])
def test_cases_that_nobody_has_labeled_at_all(dims, tmp_path):
    case = ClassSet("ignore", dims, {"background": 0, "liver": 1, "spleen": 2, "ignore": 3})
    data = case.write(tmp_path / "data", count=5)
    for number in (0, 2):
        rewrite(label(data, number), lambda values: np.full_like(values, 3))
    with failing(DatalistError, "nothing labeled.*take it out.*case_00.*case_02"):
        train(case, data, tmp_path / "out")
    ckpt = weights(case, tmp_path / "weights")
    with failing(DatalistError, "nothing labeled.*take it out.*case_00.*case_02"):
        evaluate(case, ckpt, data, tmp_path / "scores")


# ---- files that are right --------------------------------------------------------------------------------------------


def _mask_of_type(path: Path, kind: str) -> None:
    """Write a label file again in another form; the numbers of classes stay the same."""
    if path.suffix == ".png":
        values = np.array(Image.open(path))
        if kind == "indexed":
            picture = Image.fromarray(values, "P")
            picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0])
        elif kind == "gray as RGB":
            picture = Image.fromarray(np.repeat(values[..., None], 3, -1))
        elif kind == "colors":
            colors = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.uint8)
            picture = Image.fromarray(colors[values])
        else:
            picture = Image.fromarray(values.astype(np.uint16))
        picture.save(path)
        return
    stored = nib.load(path)
    values = np.asarray(stored.dataobj)
    if kind == "scaled":  # 0, 1, 2, ... as stored numbers with slope and intercept
        written = nib.Nifti1Image((values * 2 + 6).astype(np.int16), stored.affine)
        written.header.set_slope_inter(0.5, -3)
    else:
        change = {"float": np.float32, "double": np.float64, "int64": np.int64}
        written = nib.Nifti1Image(
            (values + 0.25 * (values == 2)).astype(np.float32) if kind == "fractions" else values.astype(change[kind]),
            stored.affine,
            dtype=None if kind == "fractions" else change[kind],
        )
    nib.save(written, path)


@pytest.mark.parametrize(
    ("case", "kind"),
    [(PICTURES, kind) for kind in ("indexed", "16 bits", "gray as RGB")]
    + [(VOLUMES, kind) for kind in ("float", "double", "int64", "scaled")],
    ids=str,
)
def test_forms_of_masks_mean_the_same(case, kind, prepared, tmp_path):
    """The scores of the same weights are those with plain masks."""
    data, ckpt = prepared(case, tmp_path / "data"), weights(case, tmp_path / "weights")
    summaries = []
    for name in ("plain", "other"):
        evaluate(case, ckpt, data, tmp_path / name)
        summaries.append(json.loads((tmp_path / name / "all" / "summary.json").read_text())["classes"])
        for path in (data / "labelsTr").iterdir() if name == "plain" else ():
            _mask_of_type(path, kind)
    assert summaries[0] == summaries[1]


@pytest.mark.parametrize(
    ("case", "kind", "message"),
    [
        (PICTURES, "colors", "no label map.*case_00.*colors.*case_01.*colors"),
        (VOLUMES, "fractions", "no label map.*case_00.*2.25.*case_01.*2.25"),
    ],
    ids=str,
)
def test_masks_that_hold_no_numbers_of_classes(case, kind, message, prepared, tmp_path):
    data = prepared(case, tmp_path / "data")
    for path in (data / "labelsTr").iterdir():
        _mask_of_type(path, kind)
    with failing(DatalistError, message):
        train(case, data, tmp_path / "out")


def test_scaled_volumes_have_the_values_of_their_header(tmp_path):
    """int16 with slope and intercept gives the probabilities of the same volume in float32."""
    drawn = ONE_VOLUME.sample(0)[0][0].round()
    plain, scaled = tmp_path / "plain.nii.gz", tmp_path / "scaled.nii.gz"
    nib.save(nib.Nifti1Image(drawn.astype(np.float32), AFFINE), plain)
    image = nib.Nifti1Image(((drawn + 1024) * 2).astype(np.int16), AFFINE)
    image.header.set_slope_inter(0.5, -1024)
    nib.save(image, scaled)
    np.testing.assert_allclose(nib.load(scaled).get_fdata(), drawn)
    ct = [{"kind": "ct", "low": 0.0, "high": 255.0, "mean": 50.0, "std": 30.0}]
    predictor = medssm_monai.load(MAMBA_MIS.folder, ckpt_path=weights(ONE_VOLUME, tmp_path / "w", intensity=ct))
    found = [predictor.predict(path).probabilities for path in (plain, scaled)]
    np.testing.assert_array_equal(*found)
    assert found[0].std() > 0


CODES = {"qform alone": (1, 0), "sform alone": (0, 2), "both, which differ": (1, 4), "both alike": (1, 1)}


@pytest.mark.parametrize("codes", CODES.values(), ids=CODES)
@pytest.mark.parametrize("case", [ONE_VOLUME, TWO_CHANNELS], ids=str)
def test_results_have_the_place_of_the_file(case, codes, tmp_path):
    drawn = case.sample(0)[0]
    turned = np.array([[0, -1.5, 0, 3], [1.2, 0, 0, 4], [0, 0, 2.5, -7], [0, 0, 0, 1.0]])
    sheared = AFFINE if codes[0] != codes[1] else turned
    for number, channel in enumerate(drawn):
        image = nib.Nifti1Image(channel.astype(np.float32), None)
        image.header.set_qform(turned, codes[0])
        image.header.set_sform(sheared, codes[1])
        image.header["qform_code"], image.header["sform_code"] = codes
        image = nib.Nifti1Image(channel.astype(np.float32), None, image.header)
        nib.save(image, tmp_path / f"case_{number:04d}.nii.gz")
    before = nib.load(tmp_path / "case_0000.nii.gz")
    names = ["t1", "t2"] if case.channels == 2 else None
    source = tmp_path / "in"
    source.mkdir()
    for path in tmp_path.glob("case_*.nii.gz"):
        path.rename(source / path.name)
    infer(weights(case, tmp_path / "w", channel_names=names, spacing=[1.5, 1.5, 2.0]), source, tmp_path / "out")
    after = nib.load(next((tmp_path / "out").glob("case*.nii.gz")))
    assert [int(after.header[key]) for key in ("qform_code", "sform_code")] == list(codes)
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)
    for code, read in zip(codes, ("get_qform", "get_sform"), strict=True):
        if code:
            np.testing.assert_allclose(getattr(after, read)(), getattr(before, read)(), atol=1e-4)
    assert after.shape == before.shape


AXES = {"RAS": (0, 1, 2), "LPS": (0, 1, 2), "PIR": (1, 2, 0), "SLA": (2, 0, 1)}


@pytest.mark.parametrize("spacing", [None, [1.5, 1.5, 2.0]], ids=["as stored", "resampled"])
def test_a_scene_in_any_orientation_has_one_result(spacing, tmp_path):
    """Files that differ by flips and permutations of their axes alone give the same label map in world coordinates."""
    drawn = VOLUMES.sample(3)[0][0].astype(np.float32)
    scene = nib.Nifti1Image(drawn, np.array([[1.0, 0, 0, -4], [0, 1.2, 0, 9], [0, 0, 2.0, 5], [0, 0, 0, 1]]))
    (tmp_path / "in").mkdir()
    for codes in AXES:
        wanted = nib.orientations.axcodes2ornt(codes)
        nib.save(scene.as_reoriented(wanted_from(scene, wanted)), tmp_path / "in" / f"{codes}.nii.gz")
    infer(weights(VOLUMES, tmp_path / "w", spacing=spacing), tmp_path / "in", tmp_path / "out")
    found = {}
    for codes in AXES:
        result = nib.load(next((tmp_path / "out").glob(f"{codes}*.nii.gz")))
        assert "".join(nib.aff2axcodes(result.affine)) == codes
        np.testing.assert_allclose(result.affine, nib.load(tmp_path / "in" / f"{codes}.nii.gz").affine, atol=1e-5)
        found[codes] = np.asarray(nib.as_closest_canonical(result).dataobj)
    assert len(np.unique(found["RAS"])) > 1
    for codes in AXES:
        np.testing.assert_array_equal(found[codes], found["RAS"])


def wanted_from(image: nib.Nifti1Image, wanted: np.ndarray) -> np.ndarray:
    return nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted)


# ---- weights and data that do not belong together --------------------------------------------------------------------


OTHERS = {
    "other names": {"background": 0, "liver": 1, "spleen": 2, "pancreas": 3, "tumor": 4},
    "other values": {"background": 0, "liver": 2, "spleen": 1, "kidney": 3, "tumor": 4},
    "fewer": {"background": 0, "liver": [1, 2, 3, 4]},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("case", [PICTURES, VOLUMES], ids=str)
def test_an_evaluation_on_data_of_other_classes(case, other, prepared, tmp_path):
    data, ckpt = prepared(case, tmp_path / "data"), weights(case, tmp_path / "weights")
    content = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps(content | {"labels": other}))
    with failing(ValueError, r"the data have the classes.*model\.pt was trained for.*kidney 3.*--labels"):
        evaluate(case, ckpt, data, tmp_path / "scores")


def test_classes_of_the_data_by_other_values_can_be_told(prepared, tmp_path):
    """``labels`` of the command line stand for the data; the scores are those with the labels of the training."""
    data, ckpt = prepared(PICTURES, tmp_path / "data"), weights(PICTURES, tmp_path / "weights")
    evaluate(PICTURES, ckpt, data, tmp_path / "first")
    content = json.loads((data / "dataset.json").read_text())
    other = {"background": 0, "liver": 10, "spleen": 20, "kidney": 30, "tumor": 40}
    (data / "dataset.json").write_text(json.dumps(content | {"labels": other}))
    for path in (data / "labelsTr").iterdir():
        rewrite(path, lambda values: (values * 10).astype(np.uint8))
    told = {name: value for name, value in other.items() if value}
    evaluate(PICTURES, ckpt, data, tmp_path / "second", labels=told)
    scores = [json.loads((tmp_path / run / "all/summary.json").read_text())["classes"] for run in ("first", "second")]
    assert scores[0] == scores[1]


def test_weights_of_other_dimensions_to_start_from(prepared, tmp_path):
    data, ckpt = prepared(PICTURES, tmp_path / "data"), weights(VOLUMES, tmp_path / "weights")
    with failing(ValueError, r"model\.pt: its weights are for spatial_dims 3, this training has 2.*--init_from"):
        train(PICTURES, data, tmp_path / "out", init_from=ckpt)
    shipped = str(MAMBA_MIS.folder / "models" / "model.pt")
    with failing(ValueError, r"model\.pt: its weights are for spatial_dims 2, this training has 3.*--init_from"):
        train(VOLUMES, prepared(VOLUMES, tmp_path / "volumes"), tmp_path / "out", init_from=shipped)


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        ({"a": 1, "b": 2, "c": 3, "d": 4}, {0: 0}),
        ({"kidney": 1, "a": 2, "liver": 3, "d": 4}, {0: 0, 1: 3, 3: 1}),
        ({"liver": 1, "spleen": 2}, {0: 0, 1: 1, 2: 2}),
        ({"a": 1}, {}),
        (None, {row: row for row in range(5)}),
    ],
    ids=["as many", "in another order", "fewer", "one", "the same"],
)
def test_of_weights_of_other_classes_the_rows_of_the_same_name_are_kept(prepared, tmp_path, caplog, labels, kept):
    """``kept``: row of the training's last layer by that of the weights; background, liver, spleen, kidney, tumor."""
    data = prepared(PICTURES, tmp_path / "data")
    ckpt = weights(PICTURES, tmp_path / "weights", **({"labels": labels} if labels else {}))
    options = {"dataset_dir": str(data), **PICTURES.tiny}
    start, untrained = (
        MAMBA_MIS.workflow(("train.yaml",), tmp_path / "o", **options, **changes).network_def.state_dict()
        for changes in ({"init_from": ckpt}, {"seed": 0})
    )
    saved = torch.load(ckpt, weights_only=True)
    assert all(torch.equal(start[name], saved[name]) for name in saved if not name.startswith("head"))
    for name in ("head.weight", "head.bias"):
        for row, value in enumerate(start[name]):
            assert torch.equal(value, saved[name][kept[row]] if row in kept else untrained[name][row])
    warned = [record.getMessage() for record in caplog.records if "of the last layer" in record.getMessage()]
    assert len(warned) == bool(labels)
    if labels:
        assert f"classes {', '.join(['background', *labels] if len(labels) > 1 else labels)}, this" in warned[0]
        assert warned[0].endswith("are kept, the others start afresh" if kept else "all start afresh")


@pytest.mark.parametrize(
    "labels",
    [{"liver": 1, "spleen": 2}, {"spleen": 2, "liver": 1, "kidney": 3, "tumor": 4}],
    ids=["fewer", "in another order"],
)
def test_a_teacher_of_other_classes(prepared, tmp_path, labels):
    data, ckpt = prepared(PICTURES, tmp_path / "data"), weights(PICTURES, tmp_path / "weights", labels=labels)
    options = {"dataset_dir": str(data), "teacher": ckpt, "teacher_overlay": False, **PICTURES.tiny}
    with failing(ValueError, "the teacher .* was trained with labels .*'liver'.*this network has"):
        MAMBA_MIS.run(("train.yaml", "distil.yaml"), tmp_path / "out", **options)


def test_a_teacher_of_the_same_classes(prepared, tmp_path):
    data, ckpt = prepared(PICTURES, tmp_path / "data"), weights(PICTURES, tmp_path / "weights")
    options = {"dataset_dir": str(data), "teacher": ckpt, "teacher_overlay": False, **PICTURES.tiny}
    MAMBA_MIS.run(("train.yaml", "distil.yaml"), tmp_path / "out", run_name="run", **options)
    assert json.loads((tmp_path / "out" / "models" / "model.json").read_text())["teacher"].startswith("mamba_mis_s")


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlays", [("train.yaml",), ("train.yaml", "volume.yaml")], ids=["pictures", "volumes"])
def test_the_demo_set_of_structures(overlays, tmp_path):
    case = PICTURES if len(overlays) == 1 else VOLUMES
    demo = {"dataset_dir": "demo_structures", "datalists#demo_counts": [3, 1, 1]}
    MAMBA_MIS.run(overlays, tmp_path, **demo, run_name="run", **case.tiny)
    settings = json.loads((tmp_path / "models" / "model.json").read_text())
    assert len(settings["labels"]) > 1 and settings["trained_on"] == "demo"
    ckpt = str(tmp_path / "models" / "model.pt")
    MAMBA_MIS.run((*overlays, "evaluate.yaml"), tmp_path, **demo, device="cpu", ckpt_path=ckpt, run_name="scores")
    assert set(json.loads((tmp_path / "scores/summary.json").read_text())["classes"]) == set(settings["labels"])


def _history(run: Path) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="") as stream:
        return [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def test_volumes_kept_on_disk_are_trained_alike(prepared, tmp_path):
    data = prepared(VOLUMES, tmp_path / "data")
    cache = {"cache_dir": str(tmp_path / "cache")}
    train(VOLUMES, data, tmp_path / "memory", **cache)
    assert not (tmp_path / "cache").exists()
    for name in ("disk", "again"):
        train(VOLUMES, data, tmp_path / name, cache_gib=0, **cache)
        assert _history(tmp_path / name / "run") == _history(tmp_path / "memory" / "run")
        assert len(list((tmp_path / "cache").iterdir())) == 2  # of training and validation


def test_volumes_kept_on_disk_with_other_settings_are_not_used(prepared, tmp_path):
    data = prepared(VOLUMES, tmp_path / "data")
    cache = {"cache_dir": str(tmp_path / "cache"), "cache_gib": 0}
    train(VOLUMES, data, tmp_path / "disk", **cache)
    train(VOLUMES, data, tmp_path / "other", spacing=[2.0, 2.0, 2.0], **cache)
    train(VOLUMES, data, tmp_path / "memory", spacing=[2.0, 2.0, 2.0])
    assert len(list((tmp_path / "cache").iterdir())) == 4
    assert _history(tmp_path / "other" / "run") == _history(tmp_path / "memory" / "run")


@pytest.mark.parametrize("cache_gib", [4.0, 0], ids=["memory", "disk"])
def test_a_resumed_training_of_volumes_is_the_uninterrupted_one(prepared, tmp_path, cache_gib):
    data = prepared(TWO_CHANNELS, tmp_path / "data")
    options = {"max_epochs": 2, "cache_gib": cache_gib, "cache_dir": str(tmp_path / "cache"), "learning_rate": 0.02}
    train(TWO_CHANNELS, data, tmp_path / "out", **options)
    straight = tmp_path / "out" / "run"
    options |= {"run_name": "resumed", "resume_from": str(straight / "checkpoint_epoch=1.pt")}
    train(TWO_CHANNELS, data, tmp_path / "out", **options)
    resumed = tmp_path / "out" / "resumed"
    assert _history(resumed) == _history(straight)
    last = [torch.load(run / "checkpoint_epoch=2.pt", weights_only=True) for run in (resumed, straight)]
    for part in ("model", "average", "optimizer"):
        torch.testing.assert_close(last[0][part], last[1][part], rtol=0, atol=0)
    assert (resumed / "model.pt").read_bytes() == (straight / "model.pt").read_bytes()


def probabilities(ckpt: str, source, **options) -> np.ndarray:
    return medssm_monai.load(MAMBA_MIS.folder, ckpt_path=ckpt, device="cpu", **options).predict(source).probabilities


@pytest.mark.parametrize("case", [PICTURES, TWO_CHANNELS], ids=str)
def test_half_precision_is_near(case, prepared, tmp_path):
    data, ckpt = prepared(case, tmp_path / "data"), weights(case, tmp_path / "weights")
    files = tuple(image(data, 0, number) for number in range(case.channels))
    source = files if len(files) > 1 else files[0]
    full, half = (probabilities(ckpt, source, precision=name) for name in ("float32", "bfloat16"))
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.05
    train(case, data, tmp_path / "out", precision="bfloat16")


def test_flips_of_volumes_are_averaged_in_the_axes_that_are_named(tmp_path):
    """Averaged over both flips of two axes, a mirrored volume gives the mirrored result."""
    ckpt, drawn = weights(ONE_VOLUME, tmp_path / "w"), ONE_VOLUME.sample(1)[0][0].astype(np.float32)[:32, :16, :16]
    flips = {"tta": [[0], [1], [0, 1]]}
    plain, mirrored = (probabilities(ckpt, np.ascontiguousarray(v), **flips) for v in (drawn, drawn[::-1]))
    np.testing.assert_allclose(mirrored[:, ::-1], plain, atol=1e-4)
    assert np.abs(probabilities(ckpt, drawn) - plain).max() > 1e-4


@pytest.mark.parametrize("flips", [[[4]], [[-5]], [0], "x"], ids=str)
def test_flips_of_axes_that_are_none(flips, tmp_path):
    ckpt, drawn = weights(ONE_VOLUME, tmp_path / "w"), ONE_VOLUME.sample(1)[0][0].astype(np.float32)
    with pytest.raises(ValueError, match="flip|tta|axes"):
        probabilities(ckpt, drawn, tta=flips)


@pytest.mark.parametrize("dims", [2, 3])
def test_thresholds_of_regions(dims, tmp_path):
    case = ClassSet("regions", dims, REGIONS)
    ckpt = weights(case, tmp_path / "weights")
    files = case.write_image(tmp_path / "in", "new", case.sample(0)[0])
    found = probabilities(ckpt, files[0])
    cut = float(np.median(found))
    for name, threshold in (("cut", cut), ("half", 0.5)):
        infer(ckpt, tmp_path / "in", tmp_path / name, threshold=threshold)
        (path,) = (tmp_path / name).glob(f"new*{case.ending}")
        written = np.asarray(nib.load(path).dataobj) if dims == 3 else np.asarray(Image.open(path))
        expected = np.zeros(written.shape)
        for channel, value in zip(found, (1, 2, 3), strict=True):  # a later region lies over earlier ones
            expected[channel >= threshold] = value
        np.testing.assert_array_equal(written, expected)
    assert len(np.unique(found >= cut)) == 2


@pytest.mark.parametrize("threshold", [2.0, -0.1, "half", True])
def test_thresholds_that_are_none(threshold, tmp_path):
    ckpt = weights(PICTURES, tmp_path / "weights")
    files = PICTURES.write_image(tmp_path / "in", "new", PICTURES.sample(0)[0])
    with failing(ValueError, "threshold"):
        infer(ckpt, tmp_path / "in", tmp_path / "out", threshold=threshold)
    with pytest.raises(ValueError, match="threshold"):
        probabilities(ckpt, files[0], threshold=threshold)


@pytest.mark.parametrize("labels", [FOUR, REGIONS, ONE], ids=["classes", "regions", "one"])
@pytest.mark.parametrize("dims", [2, 3])
def test_probabilities_in_place_of_label_maps(dims, labels, tmp_path):
    case = ClassSet("probabilities", dims, labels)
    ckpt = weights(case, tmp_path / "weights")
    files = case.write_image(tmp_path / "in", "new", case.sample(0)[0])
    expected = probabilities(ckpt, files[0])
    infer(ckpt, tmp_path / "in", tmp_path / "out", threshold=False, save_overlay=True)
    written = sorted((tmp_path / "out").glob(f"*{case.ending}"))
    if dims == 3:
        (path,) = written
        values = np.asarray(nib.load(path).dataobj)
        values = np.moveaxis(values, -1, 0) if values.ndim == 4 else values[None]
        np.testing.assert_allclose(values, expected, atol=1e-6)
        np.testing.assert_allclose(nib.load(path).affine, AFFINE, atol=1e-5)
    else:
        assert len(written) == len(expected)
        by_class = [np.asarray(Image.open(path)) for path in written]
        for channel in expected:
            assert any(np.abs(values / 255 - channel).max() < 0.01 for values in by_class)


@pytest.mark.parametrize(
    "corruption",
    [{"kind": "noise", "strength": 0.2}, {"kind": "blur", "strength": 2.0}, {"kind": "brightness", "strength": 0.3}]
    + [{"kind": "missing", "strength": 2}],
    ids=lambda corruption: corruption["kind"],
)
def test_corrupted_volumes(prepared, tmp_path, corruption):
    data, ckpt = prepared(TWO_CHANNELS, tmp_path / "data"), weights(TWO_CHANNELS, tmp_path / "weights")
    evaluate(TWO_CHANNELS, ckpt, data, tmp_path / "clean", part="test")
    evaluate(TWO_CHANNELS, ckpt, data, tmp_path / "spoilt", part="test", corruption=corruption)
    found = [json.loads((tmp_path / run / "all/summary.json").read_text())["classes"] for run in ("clean", "spoilt")]
    assert found[0].keys() == found[1].keys() and found[0] != found[1]


def test_volumes_are_not_compressed_as_jpeg(prepared, tmp_path):
    data, ckpt = prepared(TWO_CHANNELS, tmp_path / "data"), weights(TWO_CHANNELS, tmp_path / "weights")
    with failing(ValueError, "JPEG takes images.*volumes"):
        evaluate(TWO_CHANNELS, ckpt, data, tmp_path / "out", corruption={"kind": "jpeg", "strength": 20})


@pytest.mark.parametrize("spacing", [[1, 1], [0, 1, 1], "fine", 1.5, ["1", 1, 1]], ids=str)
def test_spacings_of_an_inference_that_are_none(tmp_path, spacing):
    ckpt = weights(ONE_VOLUME, tmp_path / "weights")
    ONE_VOLUME.write_image(tmp_path / "in", "new", ONE_VOLUME.sample(0)[0])
    with failing(ValueError, "spacing must be"):
        infer(ckpt, tmp_path / "in", tmp_path / "out", spacing=spacing)


def test_one_class_of_ct_by_rule(tmp_path):
    """``foreground`` decides which voxels the range of CT is measured in."""
    data = tmp_path / "data"
    for number in range(5):
        drawn, mask = VOLUMES.sample(number)
        for name, array in (("images", drawn[0].astype(np.float32)), ("masks", mask)):
            (data / name).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, AFFINE), data / name / f"case_{number}.nii.gz")
    train(VOLUMES, data, tmp_path / "out", channel_names=["CT"], foreground="nonzero")
    settings = json.loads((tmp_path / "out/models/model.json").read_text())
    assert settings["labels"] == {"lesion": "foreground"} and settings["intensity"][0]["kind"] == "ct"
    assert 60 < settings["intensity"][0]["mean"] < 200  # blocks have 60 to 180, the background 40
