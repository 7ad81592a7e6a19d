"""Second names of entries, which are no copies."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.transforms import ShareItemsd


def test_entries_get_a_second_name():
    given = {"pred": torch.zeros(2), "label": torch.ones(1)}
    found = ShareItemsd(["pred", "label"], ["mask", "label_mask"])(given)
    assert found["mask"] is found["pred"] is given["pred"] and found["label_mask"] is given["label"]
    assert set(given) == {"pred", "label"}


def test_keys_that_are_not_there():
    assert ShareItemsd("pred", "mask", allow_missing_keys=True)({}) == {}
    with pytest.raises(KeyError):
        ShareItemsd("pred", "mask")({})
    with pytest.raises(ValueError, match="a name for each"):
        ShareItemsd(["pred", "label"], "mask")
