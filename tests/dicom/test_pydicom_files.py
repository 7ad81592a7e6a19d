"""Every DICOM file of pydicom's tests and of pydicom-data: the right pixels, or one error that names the file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ("pydicom", "data_store", "pylibjpeg", "libjpeg", "openjpeg", "rle")
MISSING = [name for name in PACKAGES if find_spec(name) is None]
PAGE = Path(__file__).parents[2] / "docs" / "dicom_files.md"
WITHOUT_DCMTK = {"JPEG-lossy.dcm"}  # twelve bits, which pylibjpeg does not take
RIGHT, ERRORS = 100, 60  # there are more; a reader that refuses everything, or nothing, is noticed

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"not installed: {', '.join(MISSING)} (pip install pydicom-data pylibjpeg pylibjpeg-libjpeg "
        "pylibjpeg-openjpeg pylibjpeg-rle)",
    ),
]


def test_no_file_gives_wrong_pixels_and_every_error_names_its_file():
    from benchmarks.dicom_files import rows

    found = rows()
    assert [f"{row.file}: {row.note} {row.difference}" for row in found if row.result == "wrong"] == []
    assert {row.file.split(": ")[1] for row in found if row.result == "unchecked"} <= WITHOUT_DCMTK
    results = [row.result for row in found]
    assert results.count("right") > RIGHT
    assert results.count("error") > ERRORS
    text = PAGE.read_text(encoding="utf8")
    different = [
        row.file
        for row in found
        if f"| {row.file} |" in text
        and (f"| {row.file} | {row.what} | {row.syntax} | pixels right |" in text) != (row.result == "right")
        and row.result != "unchecked"
    ]
    assert different == []
    assert sum(f"| {row.file} |" in text for row in found) > RIGHT + ERRORS
