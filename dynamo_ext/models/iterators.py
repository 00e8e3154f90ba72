"""Whether PynamoDB's iterators of queries and scans are as they were written."""

from __future__ import annotations

import copy
import typing as t

from pynamodb.pagination import PageIterator
from pynamodb.pagination import ResultIterator

from ..namespaces import Namespaces

_Pages: t.Any = PageIterator
_classes = Namespaces()


def are_patched() -> bool:
    """Whether anything in them was replaced. A patch is code of the app."""
    return not _classes.are_unchanged()


# Noted when this module is imported. The first copy of an object notes something in its class.
copy.copy(_Pages(None, (), {}))
_classes.note(PageIterator, vars(PageIterator))
_classes.note(ResultIterator, vars(ResultIterator))
