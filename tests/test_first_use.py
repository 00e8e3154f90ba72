"""A model whose first uses are in several threads at once: each thread may see what another one has
not finished yet.

One thread is stopped at a line of the code that makes plans, until another thread has done
something else with the same model; or for ever, as by the handler of a signal. That is repeated for
lines all over that code.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import functools
import itertools
import pathlib
import sys
import typing as t

import pytest
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext.models
from dynamo_ext import Model
from dynamo_ext.models import deserializer
from dynamo_ext.models import eligibility
from dynamo_ext.models import hooks
from dynamo_ext.models import item_serializer
from threads import in_new_thread

pytestmark = pytest.mark.once(reason="sends nothing")

PLANS = str(pathlib.Path(dynamo_ext.models.__file__).parent)
STORED = {
    "id": {"S": "a"},
    "place": {"M": {"name": {"S": "b"}, "inner": {"M": {"number": {"N": "1"}}}}},
    "more": {"L": [{"M": {"number": {"N": "2"}}}]},
}
EVERY = 61
"""Which lines are tried: one of so many."""


class Kinds(t.NamedTuple):
    """A model, and the maps in it."""

    item: t.Any
    place: t.Any
    inner: t.Any


def define() -> Kinds:
    """A new model, of which nothing is known."""

    class Inner(MapAttribute[t.Any, t.Any]):
        number = NumberAttribute()

    class Place(MapAttribute[t.Any, t.Any]):
        name = UnicodeAttribute()
        inner: t.Any = t.cast(t.Any, Inner)()

    class Item(Model):
        id = UnicodeAttribute(hash_key=True)
        place: t.Any = t.cast(t.Any, Place)()
        more = ListAttribute(of=Inner)

    return Kinds(Item, Place, Inner)


def read(kinds: Kinds) -> None:
    item = kinds.item.from_raw_data(STORED)
    assert (item.place.inner.number, item.more[0].number) == (1, 2)


def write(kinds: Kinds) -> None:
    place = kinds.place(name="b", inner=kinds.inner(number=1))
    item = kinds.item("a", place=place, more=[kinds.inner(number=2)])
    assert item.serialize() == STORED


def read_replies(kinds: Kinds) -> None:
    assert deserializer.reads_replies(kinds.item.from_raw_data) is not None


def decide(kinds: Kinds) -> None:
    eligibility.is_stock(kinds.item)


Use = cabc.Callable[[Kinds], None]
USES = (read, write, read_replies, decide)


class Interruption:
    """Does something at a line of the code that makes plans.

    :param line: The number of the line, from 1, among all that are executed.
    :param use: What is done there.
    :param file: The code that is meant: this file, or those in this folder.
    """

    def __init__(self, line: int, use: cabc.Callable[[], object], file: str = PLANS) -> None:
        self.lines = 0
        self._line = line
        self._use = use
        self._file = file

    def __enter__(self) -> t.Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: t.Any, event: str, argument: t.Any) -> t.Any:
        return self._trace_lines if frame.f_code.co_filename.startswith(self._file) else None

    def _trace_lines(self, frame: t.Any, event: str, argument: t.Any) -> t.Any:
        if event == "line":
            self.lines += 1

            if self.lines == self._line:
                self._use()

        return self._trace_lines


@pytest.mark.parametrize(
    ("first", "other"),
    [pair for pair in itertools.permutations(USES, 2) if decide is not pair[1]],
    ids=lambda use: use.__name__,
)
def test_what_one_thread_has_not_finished_does_not_disturb_another(first: Use, other: Use) -> None:
    line = lines = 1

    while line <= lines:
        kinds = define()

        with Interruption(
            line, functools.partial(in_new_thread, functools.partial(other, kinds))
        ) as interruption:
            first(kinds)

        lines = interruption.lines
        line += EVERY

        for use in USES:
            use(kinds)

        # What is known from then on is as if there had been one thread.
        assert eligibility.is_stock(kinds.item)
        assert item_serializer.of(kinds.item) is not None


class Stop(BaseException):
    pass


def stop() -> None:
    raise Stop


# More lines of the deserializer, because an interruption of a few of them once had an effect.
@pytest.mark.parametrize(
    ("file", "every"), [(PLANS, EVERY), (deserializer.__file__, 7)], ids=["all", "deserializer"]
)
@pytest.mark.parametrize("first", USES, ids=lambda use: use.__name__)
def test_what_is_interrupted_is_done_again(first: Use, file: str, every: int) -> None:
    for line in itertools.count(1, every):
        kinds = define()

        try:
            with Interruption(line, stop, file):
                first(kinds)
        except Stop:
            pass
        else:
            return

        for use in USES:
            use(kinds)

        assert eligibility.is_stock(kinds.item)
        assert item_serializer.of(kinds.item) is not None


def test_hooks_that_two_threads_note_at_once_are_all_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for line in itertools.count(1):
        kinds, others = define(), define()
        noted = hooks.Hooks(
            of_containers=("__init__", "deserialize"),
            of_attributes=("deserialize", "get_value"),
            of_one_attribute="default",
        )
        notes = map(noted.note_container, [kinds.place, others.item])

        with Interruption(
            line, functools.partial(collections.deque, notes), hooks.__file__
        ) as interruption:
            noted.note_container(kinds.item)

        # The other thread has done nothing.
        if interruption.lines < line:
            break

        for owner, name in (
            (kinds.item, "__init__"),
            (kinds.place, "deserialize"),
            (kinds.inner, "get_value"),
            (others.item, "__init__"),
            # Last, because to undo it leaves a name.
            (kinds.item.id, "deserialize"),
        ):
            assert noted.are_unchanged()

            with monkeypatch.context() as patch:
                patch.setattr(owner, name, None, raising=False)
                assert not noted.are_unchanged()
