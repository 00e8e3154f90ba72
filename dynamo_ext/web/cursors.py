"""Cursors: signed positions in the result of a query or scan.

A cursor is readable, but can't be altered: it consists of a payload, a time and a signature, each
in base64. What the query says itself is not in the payload. It is part of what the signature's key
is derived from, so a cursor of another query has a wrong signature.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import decimal
import hashlib
import hmac
import io
import json
import time
import typing as t

import itsdangerous
import itsdangerous.encoding

from ..errors import ConfigError
from ..errors import InvalidCursor
from ..models.decoded_reply import Key
from ..models.item_json import TypedValue

_SECRET_KEY = "SECRET_KEY"
_FALLBACKS = "SECRET_KEY_FALLBACKS"

# The longest keys that DynamoDB stores, those of a table and of an index, make 8,255 characters.
_LONGEST = 8_300
_PURPOSE = "dynamo-ext cursor, version 1"
_IS_BACKWARD = 1
_HAS_KEY = 2
_LENGTH_BYTES = 2
# What stands for a value that the query fixes. Of others, the length comes first, plus one.
_FIXED = b"\0" * _LENGTH_BYTES


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a page starts."""

    key: Key | None = None
    """After the item with this key; ``None``: at the first item, in the given direction."""

    is_backward: bool = False
    """Whether the page goes from there towards the beginning of the result."""


def secret_keys(
    config: cabc.Mapping[str, t.Any], *, purpose: str = "the cursors of pages are signed with it"
) -> list[bytes]:
    """What an app signs with, the newest last.

    :param config: The app's configuration.
    :param purpose: What the error says of a missing key.
    :raises ConfigError: if the app has no ``SECRET_KEY``, or one of its keys is no text.
    """
    secret, fallbacks = config.get(_SECRET_KEY), config.get(_FALLBACKS)

    if not secret:
        raise ConfigError(f"'{_SECRET_KEY}' is not set: {purpose}.")

    if not issubclass(type(fallbacks), (list, tuple, type(None))):
        raise ConfigError(
            f"'{_FALLBACKS}' must be a list of keys, not {type(fallbacks).__name__!r}."
        )

    keys = [*(fallbacks or ()), secret]

    for name, key in zip([_FALLBACKS] * (len(keys) - 1) + [_SECRET_KEY], keys, strict=True):
        if not key or not isinstance(key, (str, bytes)):
            raise ConfigError(f"'{name}' must hold text or bytes, not {type(key).__name__!r}.")

    return [key.encode() if isinstance(key, str) else key for key in keys]


class Cursors:
    """The cursors of one query or scan.

    :param secret_keys: What to sign with, the newest last.
    :param identity: What tells the query from others.
    :param scope: What else a cursor is bound to: anything that JSON has a form for.
    :param key_types: The names of the attributes of its keys, and the type of each.
    :param fixed_values: The values that all items of the query have.
    :raises TypeError: if there is no JSON of ``scope``.
    """

    def __init__(
        self,
        secret_keys: list[bytes],
        *,
        identity: str,
        scope: t.Any,
        key_types: cabc.Mapping[str, str],
        fixed_values: cabc.Mapping[str, TypedValue],
    ) -> None:
        bound_to = _bytes([_PURPOSE, identity, _as_json(scope)])
        keys = [hmac.digest(key, bound_to, "sha256") for key in secret_keys]
        self._key_types = key_types
        self._fixed_values = fixed_values
        self._signer = itsdangerous.TimestampSigner(
            keys, key_derivation="none", digest_method=hashlib.sha256
        )

    def dump(self, position: Position) -> str:
        """A cursor for a position.

        :param position: The position.
        """
        payload = itsdangerous.encoding.base64_encode(self._payload(position))
        return self._signer.sign(payload).decode("ascii")

    def load(self, cursor: str, *, max_age: float | None) -> Position:
        """The position that a cursor stands for.

        :param cursor: The cursor.
        :param max_age: How old it may be, in seconds.
        :raises InvalidCursor: if it is not one of this query's, or too old.
        """
        if len(cursor) > _LONGEST or not _is_canonical(cursor):
            raise InvalidCursor

        try:
            payload, signed_at = self._signer.unsign(cursor, return_timestamp=True)
            position = self._position(itsdangerous.encoding.base64_decode(payload))
        except (itsdangerous.BadData, LookupError, UnicodeDecodeError):
            raise InvalidCursor from None

        # A cursor of a server whose clock is ahead is new.
        if max_age is not None and int(time.time()) - signed_at.timestamp() > max_age:
            raise InvalidCursor("The cursor has expired. Start again from the first page.")

        return position

    def _payload(self, position: Position) -> bytes:
        flags = _IS_BACKWARD * position.is_backward | _HAS_KEY * (position.key is not None)
        parts = [bytes([flags])]

        for name in self._key_types if position.key is not None else ():
            value = t.cast(Key, position.key)[name]

            if _are_same(self._fixed_values.get(name), value):
                parts.append(_FIXED)
            else:
                content = _content(value)
                parts += [(len(content) + 1).to_bytes(_LENGTH_BYTES), content]

        return b"".join(parts)

    def _position(self, payload: bytes) -> Position:
        stream = io.BytesIO(payload)
        flags = stream.read(1)[0]
        key: Key | None = None

        if flags & _HAS_KEY:
            key = {
                name: self._read_value(stream, name, attr_type)
                for name, attr_type in self._key_types.items()
            }

        return Position(key, is_backward=bool(flags & _IS_BACKWARD))

    def _read_value(self, stream: io.BytesIO, name: str, attr_type: str) -> TypedValue:
        length = int.from_bytes(stream.read(_LENGTH_BYTES))

        if not length:
            return self._fixed_values[name]

        content = stream.read(length - 1)
        return {attr_type: content if attr_type == "B" else content.decode()}


def _is_canonical(cursor: str) -> bool:
    """Whether a cursor's signature is written as it was when it was signed.

    The last character of base64 has bits that don't count, and decoders pass over characters that
    are none of base64. The rest of a cursor is signed as it is written.
    """
    try:
        signature = cursor.encode("ascii").rpartition(b".")[2]
        decoded = itsdangerous.encoding.base64_decode(signature)
    except (UnicodeEncodeError, itsdangerous.BadData):
        return False

    return itsdangerous.encoding.base64_encode(decoded) == signature


def _as_json(scope: t.Any) -> str:
    try:
        return json.dumps(scope, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"'scope' must be something that JSON has a form for, such as a user's id as text:"
            f" {error}."
        ) from None


def _bytes(parts: list[str]) -> bytes:
    return json.dumps(parts).encode()


def _are_same(fixed: TypedValue | None, value: TypedValue) -> bool:
    if fixed is None or fixed.keys() != value.keys():
        return False

    if "N" in value:
        return decimal.Decimal(fixed["N"]) == decimal.Decimal(value["N"])

    return _content(fixed) == _content(value)


def _content(value: TypedValue) -> bytes:
    """The bytes of a value of a key: text, a number, which is text in DynamoDB, or bytes."""
    (content,) = value.values()
    return content.encode() if isinstance(content, str) else bytes(content)
