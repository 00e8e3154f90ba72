"""What reads the replies of one model, and by which of its two ways.

The typed way decodes the JSON of a reply to objects made for that model; the other one walks the
dictionaries of any JSON parser. Both are generated when they are first needed.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

from ..calls.item_reading import Decode
from . import page_reader
from . import undecodable
from .page_reader import Members

if t.TYPE_CHECKING:
    from .typed_replies import TypedReplies

Item = cabc.Mapping[str, dict[str, t.Any]]

# To generate the typed way takes milliseconds, and saves some 5 ns for each byte.
_BYTES_BEFORE_TYPED = 8 * 1024
# A model may declare other types than its table has: each attempt is in vain then.
_REFUSALS_IN_A_ROW = 3
_REPLIES_LEFT_OUT = 100


class ReplyReader:
    """Makes instances of one model of the items of replies.

    :param members: What the instances are made of.
    :param read: What makes an instance of one item as botocore gives it.
    """

    def __init__(self, members: Members, read: cabc.Callable[[Item], t.Any]) -> None:
        self._members = members
        self._read = read
        self._bytes_seen = 0
        self._refusals = 0
        self._left_out = 0
        self._typed: TypedReplies | None = None

    def read_page(self, items: list[t.Any], decode: Decode) -> list[t.Any]:
        """Make instances of all items of a reply.

        :param items: The items, whose binary values are not decoded. They are taken from the list.
        :param decode: What decodes binary values.
        :return: An instance for each, or what stands for one that can't be decoded.
        """
        return self._read_page(items, decode, functools.partial(self._otherwise, decode))

    def typed(self, size: int) -> TypedReplies | None:
        """What to read a reply with; ``None`` if that is not worth the attempt.

        :param size: How many bytes the reply has.
        """
        if self._left_out > 0:
            self._left_out -= 1
            return None

        if self.has_few_bytes:
            seen = self._bytes_seen + size

            if seen >= _BYTES_BEFORE_TYPED:
                self._typed = self._make_typed()

            # Last: what was interrupted is done again.
            self._bytes_seen = seen

        return self._typed

    @property
    def has_few_bytes(self) -> bool:
        """Whether there were so few replies that no code is generated for more."""
        return self._bytes_seen < _BYTES_BEFORE_TYPED

    def note_success(self) -> None:
        """Note that a reply was read by the typed way."""
        self._refusals = 0

    def note_refusal(self) -> None:
        """Note that the typed way has refused a reply."""
        self._refusals += 1

        if self._refusals >= _REFUSALS_IN_A_ROW:
            self._left_out = _REPLIES_LEFT_OUT

    def _make_typed(self) -> TypedReplies | None:
        try:
            from .typed_replies import TypedReplies

            return TypedReplies(self._members)
        except (ImportError, ValueError):
            # The extra 'direct' is not installed; or the name of an attribute has quotation marks,
            # for example.
            return None

    @functools.cached_property
    def _read_page(self) -> page_reader.ReadPage:
        return page_reader.of_page(self._members)

    def _otherwise(self, decode: Decode, item: Item) -> t.Any:
        decode(item.values())
        return undecodable.decoded(self._read, t.cast(t.Any, item))
