"""Explanations written during an evaluation, of small networks on generated images."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import Activationsd
from PIL import Image

from medssm_monai import get_network
from medssm_monai.handlers import ExplanationReport

NAMES = ["dark", "bright"]


class Brightness(torch.nn.Module):
    """Tells bright images from dark ones by the mean of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.map = torch.nn.Conv2d(1, 2, 1)
        self.unused = torch.nn.Conv2d(1, 1, 1)
        with torch.no_grad():
            self.map.weight.copy_(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1))
            self.map.bias.copy_(torch.tensor([1.0, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(x).mean((2, 3))


def items(channels: int = 1, count: int = 8) -> list[dict]:
    """Dark and bright images in turn; the last bright one nearly black, so that its map is weak."""
    made = []
    for number in range(count):
        level = 0.01 if number == count - 1 else 0.2 + 0.7 * (number % 2)
        image = torch.full((channels, 16, 16), level)
        made.append({"image": MetaTensor(image, meta={"filename_or_obj": f"data/{number}.png"}), "label": number % 2})
    return made


def evaluate(network, handler, data):
    evaluator = SupervisedEvaluator(
        "cpu",
        DataLoader(Dataset(data), batch_size=3),
        network,
        postprocessing=Activationsd("pred", softmax=True),
        val_handlers=[handler],
    )
    evaluator.run()


def rows(folder):
    with open(folder / "explanations.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_first_images_of_each_class_are_explained(tmp_path):
    evaluate(Brightness(), ExplanationReport(tmp_path, ["map"], NAMES, images_per_class=2), items())
    table = rows(tmp_path)
    assert [(row["image"], row["label"]) for row in table] == [
        ("data/0.png", "dark"),
        ("data/1.png", "bright"),
        ("data/2.png", "dark"),
        ("data/3.png", "bright"),
    ]
    assert all((tmp_path / row["overlay"]).is_file() for row in table)
    assert sorted(path.name for path in (tmp_path / "map").glob("sheet*")) == ["sheet_class_0.png", "sheet_class_1.png"]


def test_table_and_page_say_what_is_wrong_and_what_is_weak(tmp_path):
    """Grad-CAM of the map for class k is relu(w_k · a_k / pixels): it can be computed by hand."""
    network = Brightness()
    evaluate(network, ExplanationReport(tmp_path, ["map"], NAMES, threshold=0.5), items())
    table = {row["image"]: row for row in rows(tmp_path)}
    assert (table["data/7.png"]["class"], table["data/7.png"]["correct"]) == ("dark", "0")
    for image, item in zip(table, items(), strict=True):
        level = float(item["image"][0, 0, 0])
        peak = (1 - level if table[image]["class"] == "dark" else level) / 256
        assert float(table[image]["peak"]) == pytest.approx(peak, rel=1e-4)
    peaks = np.array([float(row["peak"]) for row in table.values()])
    assert [row["weak"] for row in table.values()] == [str(int(p < 0.5 * np.median(peaks))) for p in peaks]
    page = (tmp_path / "explanations.md").read_text()
    assert "![bright](<map/sheet_class_1.png>)" in page and "of 8 images are weak" in page


def test_pictures_look_like_the_images_before_normalization(tmp_path):
    data = [{**item, "image": (item["image"] - 0.5) / 0.25} for item in items()]
    evaluate(Brightness(), ExplanationReport(tmp_path, ["map"], NAMES, mean=[0.5], std=[0.25]), data)
    sheet = np.asarray(Image.open(tmp_path / "map" / "sheet_class_1.png"))
    gray = sheet[(sheet == sheet[..., :1]).all(-1)][:, 0]
    assert np.isin(round(0.9 * 255), gray)


def test_scan_attention_is_drawn_for_mamba_networks(tmp_path):
    network = get_network("medconvmamba_t", in_channels=1, img_size=16, patch_size=4, embed_dim=8, depth=2, d_state=2)
    handler = ExplanationReport(
        tmp_path, ["blocks.1"], NAMES, scan_layers=["blocks.1.mixer"], channel_dim=-1, images_per_class=1
    )
    evaluate(network, handler, items(count=4))
    folder = tmp_path / "scan blocks.1.mixer"
    for number in range(2):
        sheet = np.asarray(Image.open(folder / f"sheet_class_{number}.png"))
        assert (sheet == (255, 64, 64)).all(-1).any()  # the chosen token is framed
    assert "(<scan blocks.1.mixer/sheet_class_0.png>)" in (tmp_path / "explanations.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": ["nowhere"]}, "no layer 'nowhere'.*map"),
        ({"layers": ["unused"]}, "did not run"),
        ({"layers": ["map"], "scan_layers": ["map"]}, "no selective scan"),
    ],
    ids=["unknown", "unused", "no scan"],
)
def test_layers_that_cannot_be_shown_are_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(Brightness(), ExplanationReport(tmp_path, class_names=NAMES, **arguments), items())


def test_bad_settings_and_images_without_labels_are_refused(tmp_path):
    for arguments in ({"layers": "map"}, {"layers": []}, {"layers": ["map"], "images_per_class": 0}):
        with pytest.raises(ValueError, match="list of layers"):
            ExplanationReport(tmp_path, class_names=NAMES, **arguments)
    data = [{"image": item["image"]} for item in items()]
    with pytest.raises(ValueError, match="'label'"):
        evaluate(Brightness(), ExplanationReport(tmp_path, ["map"], NAMES), data)


def test_the_sheets_are_added_to_the_report_of_the_evaluation(tmp_path):
    report = tmp_path / "report.md"
    handler = ExplanationReport(tmp_path / "explanations", ["map"], NAMES, images_per_class=2, report=report)
    with pytest.raises(FileNotFoundError, match=r"report\.md"):
        evaluate(Brightness(), handler, items())
    report.write_text("# Evaluation: test\n", encoding="utf-8")
    evaluate(Brightness(), handler, items())
    text = report.read_text(encoding="utf-8")
    assert text.startswith("# Evaluation: test\n\n## Explanations\n")
    pictures = re.findall(r"\(<(.+?)>\)", text)
    assert len(pictures) == len(NAMES) and all((tmp_path / picture).is_file() for picture in pictures)
