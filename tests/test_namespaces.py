"""Whether namespaces still hold what they held."""

from __future__ import annotations

import collections.abc as cabc
import operator
import typing as t

import pytest

from dynamo_ext.namespaces import Namespaces

pytestmark = pytest.mark.once(reason="sends nothing")


class Noted:
    one: t.Any
    other: t.Any


Change = cabc.Callable[[type[Noted], type[Noted], Noted, dict[str, t.Any]], object]


def noted() -> tuple[Namespaces, type[Noted], type[Noted], Noted, dict[str, t.Any]]:
    """Two classes, an instance and a dictionary, and their namespaces."""
    first = type("First", (Noted,), {"one": object(), "other": object()})
    second = type("Second", (Noted,), {})
    instance, names = Noted(), {"name": object()}
    instance.one = object()
    namespaces = Namespaces()

    for each in (first, second, instance):
        namespaces.note(each, vars(each))

    namespaces.note(names, names)

    return namespaces, first, second, instance, names


CHANGES: dict[str, Change] = {
    "replaced on a class": lambda first, *_: setattr(first, "one", object()),
    "added to a class": lambda first, *_: setattr(first, "third", object()),
    "added to the last class": lambda _, second, *__: setattr(second, "third", object()),
    "removed from a class": lambda first, *_: delattr(first, "one"),
    "replaced on an instance": lambda *each: setattr(each[2], "one", object()),
    "added to an instance": lambda *each: setattr(each[2], "third", object()),
    "removed from an instance": lambda *each: delattr(each[2], "one"),
    "replaced in a dictionary": lambda *each: each[3].update(name=object()),
    "added to a dictionary": lambda *each: each[3].update(third=object()),
    "removed from a dictionary": lambda *each: each[3].clear(),
    "two exchanged": lambda first, *_: exchange(first),
}


def exchange(kind: type[Noted]) -> None:
    kind.one, kind.other = kind.other, kind.one


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_is_seen(change: Change) -> None:
    namespaces, *owners = noted()
    assert namespaces.are_unchanged()
    operator.call(t.cast(t.Any, change), *owners)
    assert not namespaces.are_unchanged()


def test_what_is_put_back_is_no_change() -> None:
    namespaces, first, *_ = noted()
    original = first.one
    first.one = object()
    assert not namespaces.are_unchanged()
    first.one = original
    assert namespaces.are_unchanged()


def test_what_one_loses_and_the_next_one_gains_is_seen() -> None:
    first: dict[str, t.Any] = {"one": object(), "other": object()}
    second: dict[str, t.Any] = {}
    namespaces = Namespaces()
    namespaces.note(first, first)
    namespaces.note(second, second)
    second["other"] = first.pop("other")
    assert not namespaces.are_unchanged()


def test_nothing_noted_is_unchanged() -> None:
    assert Namespaces().are_unchanged()


def test_a_value_that_can_not_be_compared_is_an_error_of_its_own() -> None:
    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise LookupError

        __hash__ = None  # type: ignore[assignment]

    namespaces, first, *_ = noted()
    first.one = Incomparable()

    with pytest.raises(LookupError):
        namespaces.are_unchanged()
