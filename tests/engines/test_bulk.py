"""A run over many items of which some fail: the others are done, every failure has a name, a stage and a reason."""

from __future__ import annotations

import csv
import errno
import os

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Activationsd, Compose, Lambdad
from PIL import Image

from medssm_monai.data import TolerantDataset, keep_items
from medssm_monai.engines import BulkEvaluator, bulk
from medssm_monai.handlers import FailedItems, NothingDoneError, PredictionsCSV
from medssm_monai.transforms import LoadImage2Dd


class MeanOfTheImage(torch.nn.Module):
    """Two logits from the mean of each image; refuses a batch with a white image, as a kernel out of memory would."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        mean = x.mean((1, 2, 3))
        if (mean > 0.99).any():
            raise self.error or torch.OutOfMemoryError("tried to allocate 80 GiB")
        mean = torch.where(mean < 0.01, float("nan"), mean)  # black: no result
        return torch.stack([mean, 1 - mean], 1)


@pytest.fixture
def folder(tmp_path):
    """Eight pictures by what is to happen to them."""
    names = ("0 good", "1 white", "2 good", "3 cut", "4 good", "5 black", "6 odd", "7 good")
    generator = np.random.default_rng(0)
    for number, name in enumerate(names):
        low, high = {"1 white": (255, 256), "5 black": (0, 1), "4 good": (190, 210)}.get(name, (20, 120))
        pixels = generator.integers(low, high, (12, 8) if number == 6 else (8, 8), dtype=np.uint8)
        path = tmp_path / "in" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        if "cut" in name:
            path.write_bytes(path.read_bytes()[:-30])
    return tmp_path / "in"


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def evaluator(folder, out, network=None, batch_size=1, num_workers=0, post=(), handlers=()):
    data = [{"image": str(path)} for path in sorted(folder.iterdir())]
    dataset = TolerantDataset(data, LoadImage2Dd("image", channels=1))
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=num_workers, collate_fn=keep_items)
    handlers = [PredictionsCSV(out / "predictions.csv", ["a", "b"]), *handlers, FailedItems(out / "failed.csv")]
    transforms = Compose([Activationsd("pred", softmax=True), *post])
    return BulkEvaluator("cpu", loader, network or MeanOfTheImage(), postprocessing=transforms, val_handlers=handlers)


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (3, 0), (8, 0), (3, 2)])
def test_every_failure_is_listed_and_the_others_are_done(folder, tmp_path, batch_size, num_workers, caplog):
    engine = evaluator(folder, tmp_path / "out", batch_size=batch_size, num_workers=num_workers)
    engine.run()
    done = rows_of(tmp_path / "out" / "predictions.csv")
    assert sorted(os.path.basename(row["image"]) for row in done) == [
        *[f"{number} good.png" for number in (0, 2, 4)],
        "6 odd.png",
        "7 good.png",
    ]
    for row in done:
        mean = np.asarray(Image.open(folder / row["image"])).mean() / 255
        expected = np.exp(mean) / (np.exp(mean) + np.exp(1 - mean))
        assert float(row["probability_a"]) == pytest.approx(expected, abs=2e-6)
    failed = {os.path.basename(row["file"]): row for row in rows_of(tmp_path / "out" / "failed.csv")}
    assert {name: row["stage"] for name, row in failed.items()} == {
        "1 white.png": "network",
        "3 cut.png": "read",
        "5 black.png": "result",
    }
    assert failed["1 white.png"]["reason"] == "OutOfMemoryError: tried to allocate 80 GiB"
    assert failed["3 cut.png"]["reason"].startswith("ImageReadError: cannot be decoded")
    assert "not finite" in failed["5 black.png"]["reason"]
    assert (engine.seen, engine.done, len(engine.failures)) == (8, 5, 3)
    assert "3 of 8 failed" in caplog.text
    assert all(name in caplog.text for name in failed)


def test_a_failing_postprocessing_fails_its_item_alone(folder, tmp_path):
    def refuse(pred):
        if pred[0] > 0.57:
            raise OSError("cannot be saved")
        return pred

    network = MeanOfTheImage()
    engine = evaluator(folder, tmp_path, network, batch_size=8, post=[Lambdad("pred", refuse)])
    engine.run()
    failed = {os.path.basename(failure.file): failure for failure in engine.failures}
    assert (failed["4 good.png"].stage, failed["4 good.png"].reason) == ("result", "OSError: cannot be saved")
    assert len(rows_of(tmp_path / "predictions.csv")) == 4


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(1), OSError(errno.ENOSPC, "no space left"), torch.AcceleratorError("device lost")],
    ids=["Ctrl-C", "exit", "disk full", "device lost"],
)
def test_what_is_no_fault_of_the_item_ends_the_run_and_the_table_stays(folder, tmp_path, error):
    with pytest.raises(type(error)):
        evaluator(folder, tmp_path, MeanOfTheImage(error)).run()
    assert [os.path.basename(row["image"]) for row in rows_of(tmp_path / "predictions.csv")] == ["0 good.png"]


def test_the_table_is_readable_after_each_item(folder, tmp_path):
    seen = []

    class Watch:
        def attach(self, engine):
            from ignite.engine import Events

            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(self.rows()))

        @staticmethod
        def rows():
            return len(rows_of(tmp_path / "predictions.csv"))

    evaluator(folder, tmp_path, handlers=[Watch()]).run()
    assert seen == [1, 1, 2, 2, 3, 3, 4, 5]


def test_nothing_done_is_an_error_and_earlier_results_stay(folder, tmp_path):
    for path in folder.iterdir():
        if "cut" not in path.name:
            path.unlink()
    (tmp_path / "predictions.csv").write_text("earlier")
    with pytest.raises(
        NothingDoneError, match=r"(?s)nothing was done, 1 of 1 failed;.*3 cut.png \(read\): ImageReadError"
    ):
        evaluator(folder, tmp_path).run()
    assert (tmp_path / "predictions.csv").read_text() == "earlier"


def test_tables_of_an_earlier_run_are_kept_under_a_dated_name(folder, tmp_path):
    evaluator(folder, tmp_path).run()
    before = rows_of(tmp_path / "failed.csv")
    for row in before:
        os.remove(folder / row["file"])
    evaluator(folder, tmp_path).run()
    assert not (tmp_path / "failed.csv").exists()  # nothing failed: an old list would be taken for this run's
    (kept,) = tmp_path.glob("failed_*.csv")
    assert rows_of(kept) == before
    assert len(list(tmp_path.glob("predictions*.csv"))) == 2


@pytest.mark.parametrize(("as_command", "failures"), [(True, True), (True, False), (False, True)])
def test_the_command_ends_with_3_and_python_goes_on(folder, tmp_path, monkeypatch, as_command, failures):
    if not failures:
        for name in ("1 white", "3 cut", "5 black"):
            (folder / f"{name}.png").unlink()
    engine = evaluator(folder, tmp_path)
    engine.run()
    monkeypatch.setattr(bulk, "run_by_monai", lambda: as_command)
    if as_command and failures:
        with pytest.raises(SystemExit) as ended:
            engine.end_command()
        assert ended.value.code == 3
    else:
        engine.end_command()


def test_a_loader_that_collates_is_refused(folder, tmp_path):
    engine = evaluator(folder, tmp_path)
    engine.data_loader = DataLoader(engine.data_loader.dataset, batch_size=1)
    with pytest.raises(ValueError, match="collate_fn=medssm_monai.data.keep_items"):
        engine.run()
