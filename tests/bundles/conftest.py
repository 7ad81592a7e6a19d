from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..tracking_stores import copied_tables
from .bundle_runs import Bundle


@pytest.fixture(scope="session", autouse=True)
def quick_tracking_stores():
    with copied_tables():
        yield


@pytest.fixture
def write_image():
    """Write a random picture: ``write_image(path, width, height)``."""

    def write(path: Path, width: int, height: int, mode: str = "RGB", seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(seed)
        channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
        Image.fromarray(generator.integers(0, 256, (height, width, *channels), dtype=np.uint8), mode).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def train_tiny(tmp_path_factory):
    """Train a bundle for two epochs on the demo set, once per test session: ``train_tiny(bundle)`` is its folder."""
    finished: dict[str, Path] = {}

    def train(bundle: Bundle) -> Path:
        if bundle.name not in finished:
            out = tmp_path_factory.mktemp(bundle.name)
            bundle.run(("train.yaml",), out, **{**bundle.tiny, "max_epochs": 2}, run_name="first")
            finished[bundle.name] = out
        return finished[bundle.name]

    return train
