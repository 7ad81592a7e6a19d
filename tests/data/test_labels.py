"""Names and values of classes: channels, targets, masks, label maps, and what is refused."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.data import LabelSet
from medssm_monai.data import labels as module
from medssm_monai.data.labels import IGNORED

LESION = {"lesion": "foreground"}
ORGANS = {"background": 0, "liver": 1, "tumor": [7, 3], "ignore": 255}
BRATS = {"whole tumor": [1, 2, 4], "core": [1, 4], "enhancing": 4}


@pytest.mark.parametrize(
    ("labels", "channels", "softmax", "known", "written"),
    [
        (LESION, ("lesion",), False, (0, 1), (1,)),
        ({"tumor": [2, 3]}, ("tumor",), False, (0, 2, 3), (2,)),
        (ORGANS, ("background", "liver", "tumor"), True, (0, 1, 3, 7, 255), (1, 7)),
        (BRATS, ("whole tumor", "core", "enhancing"), False, (0, 1, 2, 4), (2, 1, 4)),
    ],
    ids=["by rule", "one", "exclusive", "regions"],
)
def test_channels_follow_from_names_and_values(labels, channels, softmax, known, written):
    found = LabelSet.of(labels)
    assert (found.channel_names, found.softmax, found.known, found.written) == (channels, softmax, known, written)
    assert found.out_channels == len(channels) and found.sigmoid is not softmax
    assert LabelSet.of(found.labels) == found  # as a settings file keeps it


@pytest.mark.parametrize("labels", [LESION, ORGANS, BRATS], ids=["by rule", "exclusive", "regions"])
def test_a_mask_comes_back_from_its_target(labels):
    found = LabelSet.of(labels)
    raw = torch.tensor(found.known).reshape(1, 1, -1).repeat(1, 3, 2)
    target = found.to_target(found.to_indices(raw))
    ignored = raw == found.ignore if found.ignore is not None else torch.zeros_like(raw, dtype=torch.bool)
    assert torch.equal((target == IGNORED).any(0, keepdim=True), ignored)
    masks = found.target_masks(target)
    for mask, values in zip(masks, found.values, strict=True):
        assert torch.equal(mask[None], torch.isin(raw, torch.tensor(values or (1,))))
    expected = raw.masked_fill(ignored, 0)
    expected[expected == 3] = 7  # the first of tumor's values
    assert torch.equal(found.label_map(masks).long(), expected)


def test_predictions_become_classes():
    exclusive, regions = LabelSet.of(ORGANS), LabelSet.of(BRATS)
    probability = torch.tensor([[0.4, 0.2], [0.3, 0.5], [0.3, 0.3]])
    assert exclusive.masks(probability, 0.9).tolist() == [[False, True], [False, False]]
    assert regions.masks(probability, 0.35).tolist() == [[True, False], [False, True], [False, False]]
    with pytest.raises(ValueError, match="2 channels; expected 3: background, liver, tumor"):
        exclusive.masks(probability[:2])


def test_large_values_are_written_with_16_bits():
    found = LabelSet.of({"a": 300, "b": 65535})
    assert found.label_map(torch.tensor([[True, False], [False, True]])).tolist() == [[300, 65535]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["liver"], "labels are names with the values"),
        ({}, "name 0 classes"),
        ({"background": 0}, "name 0 classes"),
        ({"a": "foreground", "b": 2}, "one class alone"),
        ({"a": 1.5}, "'a' has the value 1.5"),
        ({"a": True}, "'a' has the value True"),
        ({"a": 70000}, "'a' has the value 70000"),
        ({"a": []}, r"'a' has the value \[\]"),
        ({"background": 1, "a": 2}, "background has the value 1"),
        ({"a": 0}, "'a' has the value 0"),
        ({"a": 1, "ignore": 1}, "'ignore' has the value 1"),
        ({"a": [1, 2], "b": [2, 1]}, "same values"),
        ({"a": 1, "b": [1, 2]}, "every value of 'a' belongs to a class named after it"),
    ],
)
def test_labels_that_mean_nothing_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        LabelSet.of(labels)


@pytest.mark.parametrize(
    ("values", "named"), [([0.5, 1.0], "0.5"), ([2, 2, 1], r"2 \(2 times\)"), ([-1, 0], "-1"), ([7e4], "70000")]
)
def test_unknown_values_of_a_mask_are_named_with_their_numbers(values, named):
    with pytest.raises(ValueError, match=f"m.png: values {named}.*known are background 0; a 1, 3"):
        LabelSet.of({"a": [1, 3]}).to_indices(torch.tensor(values), "m.png")


def test_colors_are_as_many_as_classes_and_differ():
    many = LabelSet.of({f"c{n}": n for n in range(1, 40)})
    assert len(set(many.colors)) == 39
    assert LabelSet.of({"a": 1}, [[1, 2, 3]]).colors == ((1, 2, 3),)
    for wrong in ([], [[1, 2]], [[1, 2, 300]], ["red"]):
        with pytest.raises(ValueError, match="label_colors needs"):
            LabelSet.of({"a": 1}, wrong)


def test_a_mask_is_looked_at_in_pieces(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 3)
    known = LabelSet.of({"a": [1, 3]})
    values = torch.tensor([[[0, 1, 3, 3], [1, 0, 0, 3]]])
    assert known.to_indices(values.movedim(1, 2)).tolist() == [[[0, 1], [1, 0], [2, 0], [2, 2]]]
    with pytest.raises(ValueError, match=r"values 2 \(2 times\), 9 \(3 times\), which"):
        known.to_indices(torch.tensor([2, 9, 9, 0, 9, 1, 2]))


def test_a_value_that_is_named_twice_makes_no_regions():
    found = LabelSet.of({"a": [1, 1, 4], "b": 2})
    assert found.softmax and found.out_channels == 3 and found.labels == {"a": [1, 4], "b": 2}
