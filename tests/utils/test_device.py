from __future__ import annotations

import pytest
import torch

from medssm_monai.utils import as_device, require_device


@pytest.fixture
def graphics_cards(monkeypatch):
    def there_are(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    return there_are


@pytest.mark.parametrize(
    ("device", "cards"),
    [("cpu", 0), (torch.device("cpu"), 0), ("cuda", 1), ("cuda:0", 1), ("cuda:1", 2), (torch.device("cuda:1"), 2)],
)
def test_a_device_that_is_there(graphics_cards, device, cards):
    graphics_cards(cards)
    assert as_device(device) == torch.device(device)
    require_device(device)


@pytest.mark.parametrize(
    ("device", "cards", "there"),
    [
        ("cuda:0", 0, "there is cpu"),
        ("cuda", 0, "there is cpu"),
        ("cuda:2", 2, "there is cpu, cuda:0, cuda:1"),
        (torch.device("cuda:0"), 0, "there is cpu"),
        ("gpu", 0, "there is cpu"),
        ("GPU", 1, "there is cpu, cuda:0"),
        ("", 0, "there is cpu"),
        (0, 1, "there is cpu, cuda:0"),
        ("mps", 0, "there is cpu"),
        ("meta", 0, "there is cpu"),
    ],
)
def test_a_device_that_is_not_there_is_named_with_those_that_are(graphics_cards, device, cards, there):
    graphics_cards(cards)
    with pytest.raises(ValueError, match=f"device {str(device)!r} is not there; {there}"):
        require_device(device)
