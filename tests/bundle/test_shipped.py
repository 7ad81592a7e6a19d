"""The list of the files that came with the package: what it holds, and what it notices."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from medssm_monai.apps.bundles import main
from medssm_monai.bundle import verify_shipped
from medssm_monai.bundle.find import shipped_place
from medssm_monai.bundle.shipped import SUMS

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
NAMES = ("model.json", "model.md", "model.pt")


def sums(place: Path) -> str:
    files = sorted(place.glob("*/models/*.*"))
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(place).as_posix()}\n" for p in files)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of one bundle with its list."""
    shutil.copytree(BUNDLES / "mamba_mis" / "models", tmp_path / "mamba_mis" / "models")
    for path in (tmp_path / "mamba_mis" / "models").iterdir():
        if path.name not in NAMES:  # of trainings in this checkout
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / SUMS).write_text(sums(tmp_path))
    return tmp_path


def test_every_weights_file_of_the_package_is_listed_with_settings_and_card_and_is_the_one_listed():
    listed = verify_shipped()
    cards = [card for card in BUNDLES.glob("*/models/*.md") if card.with_suffix(".pt").is_file()]
    wanted = [card.with_suffix(end) for card in cards for end in (".md", ".json", ".pt")]
    assert listed == sorted(path.relative_to(BUNDLES).as_posix() for path in wanted)
    assert len(listed) == 15 and shipped_place() == BUNDLES


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_reads_it():
    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=BUNDLES, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK\n") == 15


def test_weights_and_settings_exchanged_together_are_noticed(place):
    assert verify_shipped(place) == [f"mamba_mis/models/{name}" for name in NAMES]
    weights = place / "mamba_mis" / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes() + b"\0")
    settings = json.loads(weights.with_suffix(".json").read_text())
    settings["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    weights.with_suffix(".json").write_text(json.dumps(settings))
    with pytest.raises(ValueError) as error:
        verify_shipped(place)
    said = str(error.value)
    assert "mamba_mis/models/model.pt differs" in said and "mamba_mis/models/model.json differs" in said
    assert "model.md" not in said and "Install the package anew" in said


def test_what_is_missing_or_not_listed_is_named(place):
    models = place / "mamba_mis" / "models"
    for end in ("pt", "json", "md"):
        (models / f"model.{end}").rename(models / f"other.{end}")
    with pytest.raises(ValueError, match=r"(?s)model.md is missing.*models/other.pt is not listed"):
        verify_shipped(place)
    (models / "other.md").unlink()  # weights of one's own may lie there
    (place / SUMS).write_text(f"{'0' * 64}  mamba_mis/models/own.json\n")
    (models / "own.json").write_text("")
    with pytest.raises(ValueError, match="own.json differs") as error:
        verify_shipped(place)
    assert "other.pt" not in str(error.value)


@pytest.mark.parametrize(
    "line", ["", "no sum", f"{'0' * 64}  ../outside", f"{'0' * 64}  a\n{'0' * 64}  a", f"{'0' * 63}  a"]
)
def test_a_list_of_another_form_is_refused(place, line):
    (place / SUMS).write_text(line + "\n" * bool(line))
    with pytest.raises(ValueError, match=SUMS):
        verify_shipped(place)


def test_no_list_is_an_error_with_what_to_do(place):
    (place / SUMS).unlink()
    with pytest.raises(FileNotFoundError, match="Install the package anew"):
        verify_shipped(place)


def test_the_command_says_it_and_ends_with_a_status(place, capsys, monkeypatch):
    assert main(["verify"]) == 0
    assert "15 files of weights, settings and cards" in capsys.readouterr().out
    monkeypatch.setattr("medssm_monai.bundle.shipped.shipped_place", lambda: place)
    (place / "mamba_mis" / "models" / "model.pt").write_bytes(b"")
    assert main(["verify"]) == 1
    assert "model.pt differs" in capsys.readouterr().err
    (place / SUMS).unlink()
    assert main(["verify"]) == 2
