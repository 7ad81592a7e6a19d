"""A list that is made when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, overload

__all__ = ["WhenUsed"]

Item = TypeVar("Item")


class WhenUsed(Sequence[Item]):
    """The items that a function lists, asked for at the first use of the length or of an item.

    So that a config whose default input folder is not there can be read, checked and handed to a host: what is wrong
    with the input is raised where the data are needed, at every use again.

    Args:
        listing: for example :func:`~medssm_monai.data.image_datalist`.
        arguments: of ``listing``.
    """

    def __init__(self, listing: Callable[..., Sequence[Item]], *arguments: Any) -> None:
        self.listing, self.arguments = listing, arguments
        self._items: Sequence[Item] | None = None

    @property
    def _listed(self) -> Sequence[Item]:
        if self._items is None:
            self._items = self.listing(*self.arguments)
        return self._items

    def __len__(self) -> int:
        return len(self._listed)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._listed)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self._listed[index]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.listing.__name__}, {', '.join(map(repr, self.arguments))})"
