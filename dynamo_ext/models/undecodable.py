"""Items that can't be decoded: the error comes when such an item is asked for, not before."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

from .item_json import Raw

T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Undecodable:
    """Stands for an item that can't be decoded. Its error is raised when the item is asked for."""

    error: Exception


def decoded(decode: cabc.Callable[[Raw], T], raw_item: Raw) -> T | Undecodable:
    """Decode one of several items, the others of which can be had whatever is wrong with it.

    :param decode: Makes an instance of an item as botocore gives it.
    :param raw_item: The item.
    """
    try:
        return decode(raw_item)
    except Exception as error:
        return Undecodable(error)


def unwrap(item: T | Undecodable) -> T:
    """An item of a page, when it is asked for.

    :param item: The item, or what stands for one that could not be decoded.
    :return: The item.
    :raises Exception: if the item could not be decoded.
    """
    if isinstance(item, Undecodable):
        raise item.error

    return item
