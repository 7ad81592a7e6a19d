"""The pictures that lie in the repository: of the networks as they are, and small."""

from __future__ import annotations

import re

import pytest
from PIL import Image

import medssm_monai

from .extensions import ROOT, extension

draw_networks = extension("draw_networks")
IMAGES = ROOT / "docs" / "images"


@pytest.mark.parametrize("name", draw_networks.DRAWINGS)
def test_a_drawing_shows_the_network_as_it_is(name):
    drawing = draw_networks.DRAWINGS[name]()
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (IMAGES / "networks" / f"{name}.svg").read_text(encoding="utf-8"))
    network = medssm_monai.get_network(drawing.variant, **drawing.settings)
    count = sum(p.numel() for p in network.parameters())
    assert f"{drawing.variant}: {count:,} parameters" in texts
    lines, _ = draw_networks.facts(drawing)
    assert [line for box in lines.values() for line in box if line not in texts] == []


@pytest.mark.parametrize("name", draw_networks.DRAWINGS)
def test_a_drawing_leaves_out_no_part_with_parameters(name):
    drawing = draw_networks.DRAWINGS[name]()
    network = medssm_monai.get_network(drawing.variant, **drawing.settings)
    drawn = {part.split(".")[0] for box in drawing.boxes.values() for part in box.parts}
    between = {"merge", "expand"}  # the arrows of Mamba-MIS
    with_parameters = {key for key, child in network.named_children() if list(child.parameters())}
    assert with_parameters - drawn - between == set()


def test_pictures_are_small_and_attributed():
    pictures = sorted(IMAGES.glob("*.png"))
    assert [path.name for path in pictures] == ["classification.png", "fusion.png", "segmentation.png"]
    text = (IMAGES / "README.md").read_text(encoding="utf-8")
    for path in pictures:
        assert path.stat().st_size < 150_000 and f"`{path.name}`" in text
        with Image.open(path) as picture:
            assert 600 < picture.width < 1200
    assert "CC0" in text and "CC BY 4.0" in text
