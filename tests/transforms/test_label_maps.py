"""Targets, class masks and label maps as transforms: metadata stay, and one class by rule is left alone."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Flip

from medssm_monai.data import LabelSet
from medssm_monai.transforms import ClassMasksd, EncodeLabelsd, FillBackgroundd, LabelMapd

ORGANS = {"liver": 1, "tumor": [4, 2]}
REGIONS = {"whole": [1, 2], "core": 2}


def _mask(values, names):
    indices = LabelSet.of(names).to_indices(torch.tensor(values)).float()
    return Flip(1)(MetaTensor(indices[None], meta={"filename_or_obj": "m.nii.gz"}))


@pytest.mark.parametrize(
    ("names", "expected"),
    [(ORGANS, [[[1, 2, 2, 0]]]), (REGIONS, [[[1, 1, 1, 0]], [[0, 1, 1, 0]]])],
    ids=["exclusive", "regions"],
)
def test_targets_masks_and_maps(names, expected):
    known = LabelSet.of(names)
    raw = [[0, known.known[-1], 2, 1]]
    item = EncodeLabelsd("label", names)({"label": _mask(raw, names)})
    assert torch.equal(torch.as_tensor(item["label"]), torch.tensor(expected, dtype=torch.float32)[:, :, [0, 1, 2, 3]])
    assert item["label"].meta["filename_or_obj"] == "m.nii.gz" and len(item["label"].applied_operations) == 1
    masks = ClassMasksd("label", known, of="target")(item)["label"]
    assert masks.shape[0] == 2 and masks.dtype == torch.uint8
    probability = torch.nn.functional.one_hot(item["label"][0].as_tensor().long(), 3).movedim(-1, 0).float()
    given = MetaTensor(probability if known.softmax else item["label"], meta=item["label"].meta)
    assert torch.equal(ClassMasksd("pred", names)({"pred": given})["pred"], masks)
    found = LabelMapd("pred", names)({"pred": given})["pred"]
    assert found.meta["filename_or_obj"] == "m.nii.gz"
    assert set(found.unique().tolist()) <= {0, *known.written} and bool(((found > 0) == masks.any(0)).all())


def test_one_class_by_rule_passes_as_it_is():
    mask = torch.ones(1, 2, 2)
    assert EncodeLabelsd("label", {"lesion": "foreground"})({"label": mask})["label"] is mask


def test_of_is_one_of_two_words():
    with pytest.raises(ValueError, match="'prediction' or 'target'"):
        ClassMasksd("pred", ORGANS, of="label")


def test_the_background_has_what_the_classes_leave():
    values = torch.tensor([[0.5, 0.0, 0.1], [0.25, 0.0, 0.3], [0.25, 0.0, 0.2]])[:, None]
    given = MetaTensor(values.clone(), meta={"filename_or_obj": "m.nii.gz"})
    found = FillBackgroundd("pred", ORGANS)({"pred": given})["pred"]
    assert torch.allclose(found[0], torch.tensor([[0.5, 1.0, 0.5]])) and torch.equal(found[1:], given[1:])
    assert LabelMapd("pred", ORGANS)({"pred": found})["pred"].tolist() == [[[0, 0, 0]]]
    regions = values[:2].clone()
    assert torch.equal(FillBackgroundd("pred", REGIONS)({"pred": regions})["pred"], values[:2])
