"""Whether PynamoDB's iterators of queries and scans are as they were written.

How they are used is not the matter of this module.
"""

from __future__ import annotations

from pynamodb.pagination import PageIterator
from pynamodb.pagination import ResultIterator

from ..namespaces import Namespaces

_classes: tuple[type, ...] = (PageIterator, ResultIterator)
# As they are when this module is imported.
_as_written = [{**vars(kind)} for kind in _classes]


def _noted() -> Namespaces:
    namespaces = Namespaces()

    for kind in _classes:
        namespaces.note(kind, vars(kind))

    return namespaces


_namespaces = _noted()


def are_patched() -> bool:
    """Whether anything in them was replaced. A patch is code of the app."""
    global _namespaces

    if _namespaces.are_unchanged():
        return False

    # Names may be added, and be in another order: to copy an object notes something in its class,
    # and what was patched comes last. Noted before they are compared: another thread may patch.
    noted = _noted()

    if any(
        not vars(kind).items() >= names.items()
        for kind, names in zip(_classes, _as_written, strict=True)
    ):
        return True

    _namespaces = noted
    return False
