"""Check and convert the values of settings.

Each check takes where a value was set (a key of ``app.config``, in quotes) and the value, and
returns the converted value. It raises :exc:`~dynamo_ext.ConfigError` if the value is invalid. The
message names the place and the limit, and never shows a secret.
"""

from __future__ import annotations

import collections.abc as cabc
import importlib.util
import json
import math
import re
import threading
import types
import typing as t
import urllib.parse

from ..errors import ConfigError

Check = cabc.Callable[[str, t.Any], t.Any]

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,100}")
_REGION = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_TABLE_NAME_PREFIX = re.compile(r"[A-Za-z0-9_.-]{0,252}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LONGEST_SHOWN = 80
_NO_MODULES: cabc.Mapping[str, cabc.Sequence[str]] = types.MappingProxyType({})


def whole_number(minimum: int, maximum: int | None = None) -> Check:
    """Make a check for whole numbers. Text and floats are converted.

    :param minimum: The lowest valid number.
    :param maximum: The highest valid number. ``None``: no limit.
    :return: The check.
    """
    wanted = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"

    def check(key: str, value: t.Any) -> int:
        number: t.Any = value

        if (isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip())) or (
            isinstance(value, float) and value.is_integer()
        ):
            number = int(value)

        if (
            not isinstance(number, int)
            or isinstance(number, bool)
            or number < minimum
            or (maximum is not None and number > maximum)
        ):
            raise ConfigError(f"{key} must be a whole number, {wanted}; it is {_shown(value)}.")

        return number

    return check


def seconds(key: str, value: t.Any) -> float:
    """Check a duration that the operating system accepts as a timeout, in seconds.

    :param key: Where the value was set.
    :param value: A number, or text that holds one.
    :return: The number, above 0.
    :raises ConfigError: if it is not a number, not above 0, or too large.
    """
    number = _number(value)

    if number is None or not 0 < number <= threading.TIMEOUT_MAX:
        raise ConfigError(
            f"{key} must be a number of seconds, above 0 and finite; it is {_shown(value)}."
        )

    return number


def milliseconds(key: str, value: t.Any) -> float:
    """Check a duration in milliseconds.

    :param key: Where the value was set.
    :param value: A number, or text that holds one.
    :return: The number, 0 or more.
    :raises ConfigError: if it is not a number, negative, or infinite.
    """
    number = _number(value)

    if number is None or not 0 <= number < math.inf:
        raise ConfigError(
            f"{key} must be a number of milliseconds, 0 or more and finite; it is {_shown(value)}."
        )

    return number


def choice(*choices: str, modules: cabc.Mapping[str, cabc.Sequence[str]] = _NO_MODULES) -> Check:
    """Make a check for one of several words.

    :param choices: The valid words. The first one needs no extra.
    :param modules: The modules that a word needs; its extra has the name of the word.
    :return: The check.
    """
    wanted = " or ".join(repr(word) for word in choices)

    def check(key: str, value: t.Any) -> str:
        if value not in choices:
            raise ConfigError(f"{key} must be {wanted}; it is {_shown(value)}.")

        word = t.cast(str, value)
        needed = modules.get(word, ())
        missing = [name for name in needed if importlib.util.find_spec(name) is None]

        if missing:
            raise ConfigError(
                f"{key} is {word!r}, which needs {' and '.join(missing)}: install"
                f" 'dynamo-ext[{word}]', or set it to {choices[0]!r}."
            )

        return word

    return check


def credential(key: str, value: t.Any) -> str:
    """Check an access key, a secret key or a session token. Its value is never shown.

    :param key: Where the value was set.
    :param value: The credential.
    :return: The credential.
    :raises ConfigError: if it is not a string, empty, or has white space around it.
    """
    text = _string(key, value)

    if not text or text != text.strip() or not text.isprintable():
        raise ConfigError(
            f"{key} must be a non-empty string without white space around it;"
            " leave it out to use botocore's credential chain."
        )

    return text


def region(key: str, value: t.Any) -> str:
    """Check the name of an AWS region; botocore makes it a part of a host name.

    :param key: Where the value was set.
    :param value: The name.
    :return: The name.
    :raises ConfigError: if it cannot be a part of a host name.
    """
    if not isinstance(value, str) or not _REGION.fullmatch(value):
        raise ConfigError(
            f"{key} must be the name of a region like 'us-east-1'; it is {_shown(value)}."
        )

    return value


def url_or(word: str) -> Check:
    """Make a check for URLs with ``http`` or ``https``, without user, query and fragment.

    :param word: A value that is valid, too.
    :return: The check. It removes slashes at the end of a URL.
    """

    def check(key: str, value: t.Any) -> str:
        wanted = f"{key} must be a URL like 'http://localhost:8000' or 'https://…', or {word!r}"

        if not isinstance(value, str):
            raise ConfigError(f"{wanted}; it is {_shown(value)}.")

        if value == word:
            return value

        if "@" in value:
            raise ConfigError(
                f"{wanted}, without user or password (its value isn't shown here); credentials go"
                " into 'DYNAMODB_AWS_ACCESS_KEY_ID' and 'DYNAMODB_AWS_SECRET_ACCESS_KEY'."
            )

        try:
            url = urllib.parse.urlsplit(value)
            hostname, port = url.hostname, url.port
        except ValueError as error:
            raise ConfigError(f"{wanted}; {error}.") from None

        if (
            url.scheme not in {"http", "https"}
            or not hostname
            or port == 0
            or url.query
            or url.fragment
            or not value.isprintable()
            or any(character.isspace() for character in value)
        ):
            raise ConfigError(f"{wanted}; it is {_shown(value)}.")

        return value.rstrip("/")

    return check


def headers(key: str, value: t.Any) -> cabc.Mapping[str, str]:
    """Check HTTP headers. Their values are never shown: they may be secret.

    :param key: Where the value was set.
    :param value: A mapping of names to values, or text with a JSON object.
    :return: A copy.
    :raises ConfigError: if it is not a mapping, or a name or value is not valid in HTTP.
    """
    wanted = f"{key} must be a mapping of header names to values, both strings"

    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ConfigError(f"{wanted}; as text, it must be a JSON object.") from None

    mapping: t.Any = value

    if not isinstance(value, cabc.Mapping):
        raise ConfigError(f"{wanted}; it is of type {type(value).__name__!r}.")

    for name, content in mapping.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigError(f"{wanted}; {name!r} is not a valid header name.")

        if not isinstance(content, str):
            raise ConfigError(
                f"{wanted}; the value of {name!r} is of type {type(content).__name__!r}."
            )

        if not content.isprintable() or not content.isascii():
            raise ConfigError(
                f"{wanted}; the value of {name!r} holds what a header can't (a line break, say)."
            )

    return t.cast("dict[str, str]", dict(mapping))


def table_name_prefix(key: str, value: t.Any) -> str:
    """Check the beginning of table names.

    :param key: Where the value was set.
    :param value: The prefix.
    :return: The prefix; it may be empty.
    :raises ConfigError: if it has a character that table names cannot have, or is too long.
    """
    text = _string(key, value)

    if not _TABLE_NAME_PREFIX.fullmatch(text):
        raise ConfigError(
            f"{key} must consist of what table names may hold"
            f" (letters, digits, '_', '-', '.'); it is {_shown(text)}."
        )

    return text


def _string(key: str, value: t.Any) -> str:
    """Check that a value is a string. Its value is not shown: it may be a secret."""
    if not isinstance(value, str):
        raise ConfigError(
            f"{key} must be a string, but it is of type {type(value).__name__!r}. A value that"
            " 'from_prefixed_env' reads is parsed as JSON: put it in double quotes there."
        )

    return value


def _number(value: t.Any) -> float | None:
    """A number, or the number that text holds; ``None`` for any other value."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None

    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _shown(value: t.Any) -> str:
    """The repr of a value for a message, cut to a readable length."""
    try:
        text = repr(value)
    except Exception:
        return f"of type {type(value).__name__!r}"

    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
