from __future__ import annotations

import itertools

import pytest
import torch

from medssm_monai.networks.layers import (
    SCAN_SETS,
    ScanOrder,
    resolve_scan_orders,
    to_maps,
    to_token_groups,
    visiting_table,
)

CASES = [
    (name, dims, size)
    for name, by_dims in SCAN_SETS.items()
    for dims in by_dims
    for size in [(5,), (3, 4), (7, 1), (2, 3, 5), (4, 4, 4)]
    if len(size) == dims
]


@pytest.mark.parametrize(("name", "dims", "size"), CASES)
def test_tokens_come_back_exactly(name, dims, size):
    orders = resolve_scan_orders(name, dims)
    x = torch.randn(2, *size, len(orders), 3)
    tokens = to_token_groups(x, orders)
    assert tokens.shape == (2, int(torch.tensor(size).prod()), len(orders), 3)
    assert torch.equal(to_maps(tokens, orders, size), x)


@pytest.mark.parametrize(("name", "dims", "size"), CASES)
def test_order_visits_axes_from_slowest_to_fastest(name, dims, size):
    for order in resolve_scan_orders(name, dims):
        index = torch.arange(int(torch.tensor(size).prod())).reshape(1, *size, 1)
        visited = []
        for position in itertools.product(*(range(size[a]) for a in order.axes)):
            where = [0] * dims
            for axis, p in zip(order.axes, position, strict=True):
                where[axis] = p
            visited.append(index[(0, *where, 0)].item())
        expected = visited[::-1] if order.reverse else visited
        assert order.to_tokens(index).flatten().tolist() == expected


@pytest.mark.parametrize(
    ("name", "dims", "count"),
    [("forward", 3, 1), ("bidirectional", 2, 2), ("rows_columns", 2, 2), ("cross", 2, 4), ("tri_plane", 3, 8)]
    + [("tri_plane_full", 3, 12), ("axes", 2, 2), ("axes", 3, 3), ("axes_both_ways", 2, 4), ("axes_both_ways", 3, 6)],
)
def test_named_sets_have_distinct_orders(name, dims, count):
    orders = resolve_scan_orders(name, dims)
    assert len(set(orders)) == len(orders) == count


@pytest.mark.parametrize("dims", [2, 3])
def test_of_the_axes_each_is_once_in_every_place(dims):
    orders, both = SCAN_SETS["axes"][dims], SCAN_SETS["axes_both_ways"][dims]
    for place in range(dims):
        assert sorted(order.axes[place] for order in orders) == list(range(dims))
    assert not any(order.reverse for order in orders)
    assert set(both) == {ScanOrder(order.axes, way) for order in orders for way in (False, True)}


def test_in_2d_the_axes_are_rows_and_columns():
    assert SCAN_SETS["axes"][2] == SCAN_SETS["rows_columns"][2]
    assert SCAN_SETS["axes_both_ways"][2] == SCAN_SETS["cross"][2]


def test_bad_orders_are_named():
    with pytest.raises(ValueError, match="cross.*rows_columns"):
        resolve_scan_orders("diagonal", 2)
    with pytest.raises(ValueError, match="tri_plane"):
        resolve_scan_orders("cross", 3)
    with pytest.raises(ValueError, match="permutation"):
        ScanOrder((0, 2))
    with pytest.raises(ValueError, match="2 axes"):
        resolve_scan_orders([ScanOrder((0, 1, 2))], 2)
    with pytest.raises(ValueError, match=r"\(B, \*spatial, C\)"):
        ScanOrder((0, 1)).to_tokens(torch.zeros(1, 4, 3))


def _swept_planes(name):
    """Planes (pairs of axes) that some order of the set visits whole before it moves on, by direction."""
    size, found = (3, 4, 5), {False: set(), True: set()}
    index = torch.cartesian_prod(*(torch.arange(n) for n in size)).reshape(1, *size, 3)
    for order in resolve_scan_orders(name, 3):
        tokens = order.to_tokens(index)[0]  # (L, 3): the coordinates in the order of the visit
        for still in range(3):
            changes = (tokens[1:, still] != tokens[:-1, still]).sum().item()
            if changes == size[still] - 1:  # this axis moves once per plane only
                found[order.reverse].add(frozenset({0, 1, 2} - {still}))
    return found


@pytest.mark.parametrize("name", ["tri_plane", "tri_plane_full"])
def test_tri_plane_covers_all_three_planes_both_ways(name):
    planes = {frozenset({0, 1}), frozenset({0, 2}), frozenset({1, 2})}
    assert _swept_planes(name) == {False: planes, True: planes}


def test_tri_plane_starts_and_steps_as_named():
    """First steps on a 2 x 3 x 4 volume: (x, y, z), (y, x, z), (z, y, x), (x, z, y), each forward and reversed."""
    index = torch.arange(24).reshape(1, 2, 3, 4, 1)
    visits = [order.to_tokens(index).flatten().tolist() for order in resolve_scan_orders("tri_plane", 3)]
    assert [v[:5] for v in visits[::2]] == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 12], [0, 12, 4, 16, 8], [0, 4, 8, 1, 5]]
    assert all(back == forth[::-1] for forth, back in zip(visits[::2], visits[1::2], strict=True))


def test_an_export_leaves_no_table_behind():
    """Tables are kept between calls; one that an exporter made is no real tensor and must not be."""
    orders, size = SCAN_SETS["cross"][2], (3, 11)

    class Table(torch.nn.Module):
        def forward(self, x):
            return x[visiting_table(orders, size, x.device)]

    x = torch.rand(33)
    program = torch.export.export(Table(), (x,))
    table = visiting_table(orders, size, x.device)
    assert type(table) is torch.Tensor
    assert table[0].tolist() == list(range(33))
    assert torch.equal(program.module()(x), x[table])
