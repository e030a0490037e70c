"""Cutting what is too much for one call."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def pieces(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items in lists of so many, the last one shorter; none of them is empty."""
    # From Python 3.12 on this is itertools.batched.
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece
