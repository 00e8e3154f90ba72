"""Reads the items of a reply while it is parsed, where the caller has asked for that.

To decode the binary values of a reply, each item is walked once, and once more when it becomes an
instance of a model. A caller that knows what the items are going to be has both done in one walk.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import typing as t

Item = dict[str, dict[str, t.Any]]
Decode = cabc.Callable[[cabc.Iterable[dict[str, t.Any]]], None]
"""Decodes the binary values among some typed values, in their places."""


class ReadItems(t.Protocol):
    """Reads the items of one reply."""

    is_of_many_items: t.ClassVar[bool]
    """Whether the reply has a list of items."""

    def parse(self, shape_name: str, body: bytes, /) -> dict[str, t.Any] | None:
        """Parse a reply, and replace its items by what they are going to be.

        :param shape_name: botocore's name of the operation's output.
        :param body: The reply.
        :return: All that the reply has, of which nothing but the items is decoded further than JSON
            is; ``None`` if the reply is to be parsed, and its items read, one after the other.
        """
        ...

    def __call__(
        self, items: list[t.Any], reply: cabc.Mapping[str, t.Any], decode: Decode, /
    ) -> bool:
        """Replace the items in the list by what they are going to be.

        :param items: The items, whose binary values are not decoded.
        :param reply: All that the reply has, as parsed from JSON.
        :param decode: What decodes binary values.
        :return: Whether it was done; ``False`` if nothing was changed.
        :raises ValueError: or another error, if a typed value is unusual: botocore parses the reply
            then, and the items are read later.
        """
        ...


Params = cabc.Mapping[str, t.Any]

_current: contextvars.ContextVar[tuple[Params, ReadItems] | None] = contextvars.ContextVar(
    "dynamo_ext.item_reading", default=None
)


def of(params: Params) -> ReadItems | None:
    """What reads the items of the reply to a call; ``None`` if botocore's way is wanted.

    :param params: The call's parameters. Another call that is made meanwhile, by a handler of
        signals say, has other ones, though they may be equal: its items are not these.
    """
    current = _current.get()
    return None if current is None or current[0] is not params else current[1]


@contextlib.contextmanager
def by(read: ReadItems, params: Params) -> cabc.Generator[None]:
    """Have the items of the reply to a call read while it is parsed.

    :param read: What reads them.
    :param params: The call's parameters.
    """
    token = _current.set((params, read))

    try:
        yield
    finally:
        _current.reset(token)
