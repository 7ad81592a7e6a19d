"""Answers name files, not where they lie."""

from __future__ import annotations

import pytest

from medssm_monai.data import ImageReadError

settings = pytest.importorskip("monailabel.config").settings  # in an environment of its own
HTTPException = pytest.importorskip("fastapi").HTTPException


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, 400), (ImageReadError, 400), (FileNotFoundError, 400), (KeyError, 500)]
)
def test_an_answer_names_no_folder_of_the_server(tmp_path, monkeypatch, error, status):
    from medssm_monai.apps.label.errors import answered

    (tmp_path / "Doe, Jane").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "Doe, Jane")
    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", str(tmp_path / "link"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "uploads"))
    for folder in ("link", "Doe, Jane", "uploads"):
        with pytest.raises(HTTPException) as caught, answered(400, "m"):
            raise error(f"{tmp_path}/{folder}/sub/a.png: damaged")
        assert caught.value.status_code == status
        assert "sub/a.png: damaged" in caught.value.detail and str(tmp_path) not in caught.value.detail


def test_other_text_stays(monkeypatch):
    from medssm_monai.apps.label.errors import without_folders

    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", "/")
    assert without_folders("1/2 of a/b: no such file") == "1/2 of a/b: no such file"
