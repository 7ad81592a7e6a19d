"""Four thousand instances, a few of them wrong in many ways: right images or errors that name the instance."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

import medssm_monai
from medssm_monai.apps.dicom import main

from .objects import image, require_libraries, save, turned

require_libraries()
import pydicom  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

STUDIES, SLICES, SIZE = 16, 124, (16, 16)
DIRECTIONS = turned(10)


def pair(folder: Path, number: int) -> tuple[str, dict[str, np.ndarray]]:
    """Two series of one study on one grid; its UID, and each series' pixels ``(slices, rows, columns)``."""
    rng, study, frame = np.random.default_rng(number), generate_uid(), generate_uid()
    normal = np.cross(*DIRECTIONS)
    volumes = {}
    for what in ("t1", "t2"):
        series = generate_uid()
        ramp = np.add.outer(np.arange(SLICES), np.add.outer(np.arange(16), np.arange(16)))
        volumes[what] = (ramp * 3 + rng.integers(0, 60, ramp.shape)).astype(np.uint16)
        for z, plane in enumerate(volumes[what]):
            made = image(
                "MR",
                plane,
                z + 1,
                study,
                series,
                SeriesDescription=what,
                FrameOfReferenceUID=frame,
                ImagePositionPatient=[f"{v:.6f}" for v in normal * 2.0 * z],
                ImageOrientationPatient=[f"{v:.8f}" for v in DIRECTIONS.ravel()],
                PixelSpacing=["1", "1"],
                SliceThickness="2",
            )
            save(made, folder / f"{number:02d}" / f"{what}_{z:03d}.dcm")
    return study, volumes


def spoil(path: Path, **values) -> str:
    """Change or delete (None) elements of a file; its SOP Instance UID."""
    header = pydicom.dcmread(path)
    for name, value in values.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    header.save_as(path)
    return header.SOPInstanceUID


@pytest.mark.integration
@pytest.mark.thorough
def test_good_studies_are_done_and_each_bad_one_is_named(tmp_path, capsys):
    folder = tmp_path / "in"
    studies = [pair(folder, number) for number in range(STUDIES)]
    at = lambda study, name: folder / f"{study:02d}" / f"{name}.dcm"  # noqa: E731
    named = {}
    corrupt = at(1, "t1_060")
    named[1] = pydicom.dcmread(corrupt).SOPInstanceUID
    corrupt.write_bytes(corrupt.read_bytes()[:-200])
    named[2] = spoil(at(2, "t2_003"), ImageOrientationPatient=None)
    named[3] = spoil(at(3, "t1_100"), PixelData=None)
    strange = pydicom.dcmread(at(4, "t1_010"))
    named[4] = strange.SOPInstanceUID
    whole = at(4, "t1_010").read_bytes()
    at(4, "t1_010").write_bytes(whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0", 1))
    named[5] = spoil(at(5, "t2_050"), PhotometricInterpretation="CMYK")
    for z in range(SLICES):
        spoil(at(6, f"t2_{z:03d}"), ImagePositionPatient=None)
    named[6] = pydicom.dcmread(at(6, "t2_000")).SeriesInstanceUID
    for z in range(SLICES):  # both series under one identifier, told apart by their echo times
        spoil(at(7, f"t1_{z:03d}"), EchoTime="10")
        spoil(at(7, f"t2_{z:03d}"), EchoTime="80", SeriesInstanceUID=pydicom.dcmread(at(7, "t1_000")).SeriesInstanceUID)
    for number in range(32):
        save(image("DX", np.zeros((8, 8), np.uint8)), folder / "others" / f"{number}.dcm")
    assert len(list(folder.rglob("*.dcm"))) == 2 * STUDIES * SLICES + 32 == 4000

    report = tmp_path / "report.json"
    words = ["clinical_fmamba", str(folder), str(tmp_path / "out"), "--weights", "volume", "--device", "cpu"]
    status = main([*words, "--source", "source_a=t1", "--source", "source_b=t2", "--report", str(report)])
    told = json.loads(report.read_text(encoding="utf8"))
    assert status == 3, capsys.readouterr()
    done = {row["study"] for row in told["predictions"] if row["state"] == "done"}
    bad = set(named)
    assert done == {study for number, (study, _) in enumerate(studies) if number not in bad}
    (failed,) = [row for row in told["predictions"] if row["state"] == "failed"]
    assert failed["study"] == studies[5][0] and named[5] in failed["reason"]
    not_read = " ".join(one["what"] for one in told["not_read"])
    assert [uid for number, uid in named.items() if number != 5 and uid not in not_read] == []

    predictor = medssm_monai.load("clinical_fmamba", ckpt_path="volume", device="cpu")
    for number in (0, 7, 15):
        study, volumes = studies[number]
        (row,) = [row for row in told["predictions"] if row["study"] == study]
        slices = sorted(
            (pydicom.dcmread(tmp_path / "out" / name) for name in row["files"]), key=lambda one: one.InstanceNumber
        )
        fused = np.stack([one.pixel_array.astype(np.float64) * float(one.RescaleSlope) for one in slices])
        pictures = tuple(nifti(volumes[what], tmp_path / f"{number}_{what}.nii") for what in ("t1", "t2"))
        expected = predictor.predict(pictures).image.T
        np.testing.assert_allclose(fused, expected, atol=2e-5)
        normal = np.cross(*DIRECTIONS)
        steps = np.diff([np.asarray(one.ImagePositionPatient, float) @ normal for one in slices])
        np.testing.assert_allclose(steps, 2.0, atol=1e-4)


def nifti(pixels: np.ndarray, path: Path) -> str:
    """The same voxels as another file format."""
    nibabel.save(nibabel.Nifti1Image(pixels.T.astype(np.int16), np.eye(4)), path)
    return str(path)
