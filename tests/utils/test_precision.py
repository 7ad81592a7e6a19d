from __future__ import annotations

import contextlib

import pytest
import torch

from medssm_monai.utils import chosen_precision
from medssm_monai.utils.precision import PRECISIONS


@pytest.fixture
def graphics_card(monkeypatch):
    """One CUDA device that has bfloat16 or not."""

    def with_bfloat16(there: bool) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: there)

    return with_bfloat16


@pytest.mark.parametrize(("asked", "given"), [("float32", "float32"), ("bfloat16", "bfloat16"), ("auto", "float32")])
def test_on_a_cpu(asked, given):
    assert chosen_precision(asked, "cpu") == given
    assert chosen_precision(asked, torch.device("cpu")) == given


@pytest.mark.parametrize("there", [True, False])
def test_automatic_on_a_cuda_device_goes_by_what_it_has(graphics_card, there):
    graphics_card(there)
    assert chosen_precision("auto", "cuda:0") == ("bfloat16" if there else "float16")
    assert chosen_precision("float16", "cuda:0") == "float16"
    assert chosen_precision("float32", "cuda:0") == "float32"


def test_bfloat16_on_a_cuda_device_without_it(graphics_card):
    graphics_card(False)
    with pytest.raises(ValueError, match="'cuda:0' has no bfloat16 in hardware; give float16, auto or float32"):
        chosen_precision("bfloat16", "cuda:0")


def test_float16_on_a_cpu():
    with pytest.raises(
        ValueError, match="'float16' is for CUDA devices, the device is 'cpu'; give bfloat16 or float32"
    ):
        chosen_precision("float16", "cpu")


@pytest.mark.parametrize("word", ["half", "bf16", "", "Float32", True, None])
def test_another_word(word):
    with pytest.raises(ValueError, match=f"precision {word!r} is not known; give one of {', '.join(PRECISIONS)}"):
        chosen_precision(word, "cpu")
