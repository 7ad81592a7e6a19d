"""A training of any bundle that is interrupted and resumed leaves what an uninterrupted one leaves, to the bit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from matplotlib.figure import Figure
from monai.engines import IterationEvents

from medssm_monai.utils import root_cause

from .bundle_runs import MAMBA_MIS, Bundle, every_bundle, first_bundle, give_store

TRAIN = ("train.yaml",)
RANDOM = {  # more of what draws random numbers than the defaults
    "mamba_mis": {},
    "medconvmamba": {"noise": 0.5, "erase": 0.5},
    "medspectralnet": {"cutmix": 0.5, "perspective": 0.5, "blur": 0.5},
    "clinical_fmamba": {"crops_per_pair": 2},
}


class PowerCut(BaseException):
    """Stands for a kill: no handler expects it."""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes longer than training here."""
    monkeypatch.setattr(Figure, "savefig", lambda self, target, **_: Path(target).write_bytes(b"a picture"))


def settings(bundle: Bundle, workers: int) -> dict:
    quick = {"max_epochs": 2, "learning_rate": 0.02, "train#dataloader#num_workers": workers}
    return {**bundle.tiny, **RANDOM[bundle.name], **quick}


def interrupt(flow, moment: str, epoch: int, monkeypatch) -> None:
    """Run a workflow until the moment in an epoch."""

    def end(engine) -> None:
        if engine.state.epoch == epoch:
            raise PowerCut

    with monkeypatch.context() as patch:
        if moment == "mid-epoch":
            flow.trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, end)
        elif moment == "after validation":
            flow.trainer.add_event_handler(Events.EPOCH_COMPLETED, end)
        else:
            whole = Path.write_bytes

            def half(path: Path, data: bytes) -> int:
                if f"checkpoint_epoch={epoch}." in path.name:
                    whole(path, data[: len(data) // 2])
                    raise PowerCut
                return whole(path, data)

            patch.setattr(Path, "write_bytes", half)
        with pytest.raises(PowerCut):
            flow.run()


def table(run: Path) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="") as stream:
        return [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def report(run: Path) -> dict:
    summary = json.loads((run / "validation" / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key not in ("written", "seconds_per_pair")}


def assert_equal(resumed: Path, straight: Path) -> None:
    """Weights, state, table and report of two runs of two epochs, to the bit; seconds and the time of writing apart."""
    assert [row["epoch"] for row in table(straight)] == ["1", "2"]
    assert table(resumed) == table(straight)
    assert report(resumed) == report(straight)
    for name in ("model.pt", "model.json"):
        assert (resumed / name).read_bytes() == (straight / name).read_bytes()
    last = [torch.load(run / "checkpoint_epoch=2.pt", weights_only=True) for run in (resumed, straight)]
    for part in ("model", "average", "optimizer", "lr_scheduler", "early_stop"):
        torch.testing.assert_close(last[0][part], last[1][part], rtol=0, atol=0)
    first = torch.load(straight / "checkpoint_epoch=1.pt", weights_only=True)["model"]
    assert any(not torch.equal(first[name], value) for name, value in last[0]["model"].items())


def assert_best(bundle: Bundle, run: Path) -> None:
    """The weights, score and settings that are kept are those of the best epoch."""
    scores = [float(row[bundle.key_metric]) for row in table(run)]
    best = scores.index(max(scores)) + 1
    kept = torch.load(run / "checkpoint_epoch=2.pt", weights_only=True)["best_model"]
    assert (kept["metric"], kept["epoch"]) == (pytest.approx(max(scores), rel=1e-6), best)  # the table is in float32
    average = torch.load(run / f"checkpoint_epoch={best}.pt", weights_only=True)["average"]
    expected = {name.removeprefix("module."): value for name, value in average.items() if name != "n_averaged"}
    torch.testing.assert_close(torch.load(run / "model.pt", weights_only=True), expected, rtol=0, atol=0)
    stored = json.loads((run / "model.json").read_text())
    assert stored["trained_on"] == "demo" and len(stored["weights_sha256"]) == 64
    if "temperature" in stored:
        assert stored["temperature"] == pytest.approx(float(table(run)[best - 1]["temperature"]), rel=1e-6)


@every_bundle
def test_resumed_and_straight_are_equal_to_the_bit(bundle, tmp_path, monkeypatch):
    options = settings(bundle, workers=0)
    bundle.run(TRAIN, tmp_path, **options, run_name="straight")
    assert_best(bundle, tmp_path / "straight")
    resume = {"run_name": "resumed"}
    for moment in ("mid-epoch", "after validation", "mid-write"):
        interrupt(bundle.workflow(TRAIN, tmp_path, **options, **resume), moment, 2, monkeypatch)
        resume = {"resume_from": str(tmp_path / "resumed")}  # the name of the run is that of the folder
    bundle.run(TRAIN, tmp_path, **options, **resume)
    assert_equal(tmp_path / "resumed", tmp_path / "straight")


@first_bundle
def test_data_loader_workers_draw_the_same_numbers_after_resuming(bundle, tmp_path):
    options = settings(bundle, workers=2)
    bundle.run(TRAIN, tmp_path, **options, run_name="straight")
    resume = {"resume_from": str(tmp_path / "straight" / "checkpoint_epoch=1.pt")}
    bundle.run(TRAIN, tmp_path, **options, **resume, run_name="resumed")
    ours, theirs = tmp_path / "resumed", tmp_path / "straight"
    assert table(ours) == table(theirs)
    assert (ours / "model.pt").read_bytes() == (theirs / "model.pt").read_bytes()
    last = [torch.load(run / "checkpoint_epoch=2.pt", weights_only=True) for run in (ours, theirs)]
    for part in ("model", "average", "optimizer"):
        torch.testing.assert_close(last[0][part], last[1][part], rtol=0, atol=0)


def test_a_finished_training_that_is_resumed_ends_well_and_changes_no_weights(tmp_path):
    options = {**MAMBA_MIS.tiny, "max_epochs": 1}
    MAMBA_MIS.run(TRAIN, tmp_path, **options, run_name="run")
    files = ("model.pt", "model.json", "history.csv", "checkpoint_epoch=1.pt")
    before = [(tmp_path / "run" / name).read_bytes() for name in files]
    MAMBA_MIS.run(TRAIN, tmp_path, **options, resume_from=str(tmp_path / "run"))
    assert [(tmp_path / "run" / name).read_bytes() for name in files] == before


@pytest.mark.parametrize("workers", [(0, 2), (2, 0)], ids=str)
def test_it_goes_on_by_itself_with_another_number_of_workers(workers, tmp_path, monkeypatch):
    before, after = (settings(MAMBA_MIS, number) for number in workers)
    give_store(tmp_path)
    interrupt(MAMBA_MIS.workflow(TRAIN, tmp_path, **before, resume=True), "mid-epoch", 2, monkeypatch)
    flow = MAMBA_MIS.run(TRAIN, tmp_path, **after, resume=True)
    run = Path(flow.parser.get_parsed_content("run_dir"))
    MAMBA_MIS.run(TRAIN, tmp_path / "straight", **before, run_name="run")
    assert (run / "model.pt").read_bytes() == (tmp_path / "straight" / "run" / "model.pt").read_bytes()
    assert [path.parent for path in tmp_path.glob("*/history.csv")] == [run]
    assert [row["epoch"] for row in table(run)] == ["1", "2"]
    assert [run.info.status for run in MAMBA_MIS.mlflow_runs(tmp_path)[1]] == ["FINISHED"]


def test_a_training_of_other_settings_begins_anew_and_says_why(tmp_path, caplog):
    options = {**MAMBA_MIS.tiny, "max_epochs": 1, "resume": True}
    flows = [MAMBA_MIS.run(TRAIN, tmp_path, **options, seed=seed) for seed in (0, 1, 1)]
    first, second, again = (Path(flow.parser.get_parsed_content("run_dir")) for flow in flows)
    assert first != second == again
    assert f"{first.name}, has other values of seed; --run_name {first.name} goes on with it" in caplog.text


def test_a_typo_in_the_checkpoint_is_said_and_nothing_is_trained(tmp_path):
    with pytest.raises(RuntimeError) as raised:
        MAMBA_MIS.run(TRAIN, tmp_path, **MAMBA_MIS.tiny, resume_from=str(tmp_path / "runn"))
    assert "--resume_from" in str(root_cause(raised.value))
    assert not list(tmp_path.glob("**/history.csv"))
