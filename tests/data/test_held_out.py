"""Validation images that choose nothing: which ones, again and again, and no group in two places."""

from __future__ import annotations

import pytest

from medssm_monai.data import choosing_part, held_out_part, held_out_record

ITEMS = [{"image": f"{number}.png", "label": number % 2} for number in range(20)]
GROUPED = [{"image": f"{number}.png", "group": f"p{number // 4}"} for number in range(20)]


@pytest.mark.parametrize("items", [ITEMS, GROUPED])
def test_both_sides_together_are_the_part(items):
    chosen, held = choosing_part(items, 0.4), held_out_part(items, held_out_record(items, 0.4))
    assert len(held) == 8 and len(chosen) == 12
    assert sorted(chosen + held, key=items.index) == items
    assert held == held_out_part(list(items), held_out_record(items, 0.4))


def test_groups_are_not_cut():
    held = held_out_part(GROUPED, held_out_record(GROUPED, 0.4))
    assert {item["group"] for item in held}.isdisjoint(item["group"] for item in choosing_part(GROUPED, 0.4))


def test_without_a_share_all_choose_and_all_calibrate():
    assert choosing_part(ITEMS, 0.0) == ITEMS
    assert held_out_record(ITEMS, 0) is None
    assert held_out_part(ITEMS, None) == ITEMS


def test_another_part_than_the_training_s_is_refused():
    with pytest.raises(ValueError, match="held out 8 of 20 validation images, and here the part has 19"):
        held_out_part(ITEMS[1:], held_out_record(ITEMS, 0.4))


@pytest.mark.parametrize("share", [-0.1, 0.95, True, "0.5", None])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(ValueError, match="hold_out must be a share"):
        choosing_part(ITEMS, share)


@pytest.mark.parametrize(("items", "share"), [(ITEMS[:1], 0.5), (ITEMS[:2], 0.1)])
def test_a_share_that_leaves_nothing_on_one_side_is_refused(items, share):
    with pytest.raises(ValueError, match="leaves nothing on one side"):
        choosing_part(items, share)
