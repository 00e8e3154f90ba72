"""Check and convert the values of settings.

Each check takes where a value was set (a key of ``app.config``, in quotes) and the value, and
returns the converted value. It raises :exc:`~dynamo_ext.ConfigError` if the value is invalid. The
message names the place and the limit, and never shows a secret.
"""

from __future__ import annotations

import collections.abc as cabc
import importlib.util
import ipaddress
import json
import re
import types
import typing as t
import urllib.parse

import botocore.utils

from ..errors import ConfigError
from . import local_file

Check = cabc.Callable[[str, t.Any], t.Any]

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,100}")
# As botocore has it, but for a line break at the end.
_REGION = re.compile(r"(?![0-9]+\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_IN_TABLE_NAMES = re.compile(r"[A-Za-z0-9_.-]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%/-]*")
# A URL, whole or in part, in which nothing stands where a password or a token may stand.
_URL_WITHOUT_SECRETS = re.compile(
    r"(?:[a-z]{1,10}:/{1,2}|//)?(?:\[[0-9a-f:.]*\]?|[\w. -]*)(?::[0-9]{0,5})?(?:/[\w./-]*)?\s*",
    re.IGNORECASE,
)
# Longer than any valid word or number, shorter than any secret key of AWS.
_LONGEST_SHOWN = 32
_LONGEST_URL_SHOWN = 80
# The system calls that wait for sockets (poll, epoll) take a C int of milliseconds.
MOST_MILLISECONDS = 2**31 - 1
_MOST_SECONDS = MOST_MILLISECONDS // 1000
# The shortest name of a table has 3 characters, the longest 255.
_LONGEST_PREFIX = 252
# Each would break every request: its length, its signature, or what makes it DynamoDB's.
_HEADERS_OF_EACH_REQUEST = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "expect",
        "transfer-encoding",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-target",
    }
)
# As Flask reads FLASK_DEBUG, but that other words are refused.
_SWITCHES = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_NO_MODULES: cabc.Mapping[str, cabc.Sequence[str]] = types.MappingProxyType({})


def whole_number(minimum: int, maximum: int) -> Check:
    """Make a check for whole numbers. Text and floats are converted.

    :param minimum: The lowest valid number.
    :param maximum: The highest valid number.
    :return: The check.
    """

    def check(key: str, value: t.Any) -> int:
        number: t.Any = value

        if (isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip())) or (
            isinstance(value, float) and value.is_integer()
        ):
            number = int(value)

        if (
            not isinstance(number, int)
            or isinstance(number, bool)
            or not minimum <= number <= maximum
        ):
            raise ConfigError(
                f"{key} must be a whole number, from {minimum} to {maximum}; it is {_shown(value)}."
            )

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

    if number is None or not 0 < number <= _MOST_SECONDS:
        raise ConfigError(
            f"{key} must be a number of seconds, above 0 and at most {_MOST_SECONDS} (24 days, the"
            f" longest that the operating system can wait); it is {_shown(value)}."
        )

    return number


def milliseconds(key: str, value: t.Any) -> float:
    """Check a duration in milliseconds.

    :param key: Where the value was set.
    :param value: A number, or text that holds one.
    :return: The number, 0 or more.
    :raises ConfigError: if it is not a number, negative, or longer than any call can take.
    """
    number = _number(value)

    if number is None or not 0 <= number <= MOST_MILLISECONDS:
        raise ConfigError(
            f"{key} must be a number of milliseconds, from 0 to {MOST_MILLISECONDS}; it is"
            f" {_shown(value)}."
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
        if not isinstance(value, str) or value not in choices:
            raise ConfigError(f"{key} must be {wanted}; it is {_shown(value)}.")

        needed = modules.get(value, ())
        missing = [name for name in needed if importlib.util.find_spec(name) is None]

        if missing:
            raise ConfigError(
                f"{key} is {value!r}, which needs {' and '.join(missing)}: install"
                f" 'dynamo-ext[{value}]', or set it to {choices[0]!r}."
            )

        return value

    return check


def true_or_false(key: str, value: t.Any) -> bool:
    """Check a switch.

    :param key: Where the value was set.
    :param value: ``True`` or ``False``.
    :return: The value.
    :raises ConfigError: if it is anything else.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{key} must be True or False; it is {_shown(value)}.")

    return value


def switch(key: str, value: t.Any) -> bool:
    """Check a switch that an environment variable may set. Text is converted.

    :param key: Where the value was set.
    :param value: ``True`` or ``False``, or text that says so.
    :return: The value.
    :raises ConfigError: if it is anything else.
    """
    word = value.strip().lower() if isinstance(value, str) else ""
    return true_or_false(key, _SWITCHES.get(word, value))


def credential(key: str, value: t.Any) -> str:
    """Check a secret key. Its value is never shown.

    :param key: Where the value was set.
    :param value: The credential.
    :return: The credential.
    :raises ConfigError: if it is not a string, empty, has white space around it, or holds what is
        not printable ASCII.
    """
    text = _string(key, value)

    if not text or text != text.strip() or not text.isprintable():
        raise ConfigError(
            f"{key} must be a non-empty string without white space around it;"
            " leave it out to use botocore's credential chain."
        )

    if not text.isascii():
        raise ConfigError(f"{key} must consist of ASCII characters; its value isn't shown here.")

    return text


def sent_credential(key: str, value: t.Any) -> str:
    """Check an access key or a session token, which are sent in headers. It is never shown.

    :param key: Where the value was set.
    :param value: The credential.
    :return: The credential.
    :raises ConfigError: as :func:`credential` does, and if it holds a space.
    """
    text = credential(key, value)

    if " " in text:
        raise ConfigError(f"{key} must not hold a space; its value isn't shown here.")

    return text


def region(key: str, value: t.Any) -> str:
    """Check the name of an AWS region; botocore makes it a part of a host name.

    :param key: Where the value was set.
    :param value: The name.
    :return: The name.
    :raises ConfigError: if botocore would refuse it.
    """
    if not isinstance(value, str) or not _REGION.fullmatch(value):
        raise ConfigError(
            f"{key} must be the name of a region like 'us-east-1'; it is {_shown(value)}."
        )

    return value


def url(*, or_embedded: bool) -> Check:
    """Make a check for URLs with ``http`` or ``https``, without user, query and fragment.

    :param or_embedded: Whether an embedded engine (``local://``, ``local:///file``) is valid, too.
    :return: The check. It removes slashes at the end of a URL.
    """

    def check(key: str, value: t.Any) -> str:
        wanted = f"{key} must be a URL like 'http://localhost:8000' or 'https://…'"

        if or_embedded:
            wanted += f", or {local_file.LOCAL!r}"

        if not isinstance(value, str):
            raise ConfigError(f"{wanted}; it is {_shown(value)}.")

        if or_embedded and local_file.is_embedded(value):
            if (fault := local_file.fault_of(value)) is not None:
                raise ConfigError(f"{key} is {_shown_url(value)}{fault}")

            return value

        if (fault := _fault_of_url(value)) is not None:
            raise ConfigError(f"{wanted}{fault}")

        return value.rstrip("/")

    return check


def _fault_of_url(value: str) -> str | None:
    """What is wrong with the URL of a server, as the rest of a message; ``None`` if nothing is."""
    if "@" in value:
        return (
            ", without user or password (its value isn't shown here); credentials go into"
            " 'DYNAMODB_AWS_ACCESS_KEY_ID' and 'DYNAMODB_AWS_SECRET_ACCESS_KEY'."
        )

    if "?" in value or "#" in value:
        return ", without query and fragment (its value isn't shown here)."

    try:
        url = urllib.parse.urlsplit(value)
        hostname, has_port = url.hostname, url.port != 0 and not url.netloc.endswith(":")
    except ValueError:
        # The message of this error may hold a password that was taken for a port.
        return f"; it is {_shown_url(value)}: its host or port is invalid."

    if (
        url.scheme not in {"http", "https"}
        or not hostname
        or not has_port
        or not value.isprintable()
        or any(character.isspace() for character in value)
    ):
        return f"; it is {_shown_url(value)}."

    if not _is_valid_host(value, url.netloc, hostname):
        return (
            f"; it is {_shown_url(value)}: botocore refuses its host name, in which only letters,"
            " digits and '-' may stand between dots (an international name in its form 'xn--…')."
        )

    if not _PATH.fullmatch(url.path):
        return f"; it is {_shown_url(value)}: its path holds what must be percent-encoded."

    return None


def _is_valid_host(value: str, netloc: str, hostname: str) -> bool:
    if netloc.startswith("["):
        try:
            return ipaddress.ip_address(hostname).version == 6
        except ValueError:
            return False

    # Its expression takes letters beyond ASCII for some of A to Z; urllib3 refuses them.
    return hostname.isascii() and bool(botocore.utils.is_valid_endpoint_url(value))


def headers(key: str, value: t.Any) -> cabc.Mapping[str, str]:
    """Check HTTP headers. Their values are never shown: they may be secret.

    :param key: Where the value was set.
    :param value: A mapping of names to values, or text with a JSON object.
    :return: A copy.
    :raises ConfigError: if it is not a mapping, a name or value is not valid in HTTP, or a header
        is one that each request has.
    """
    wanted = f"{key} must be a mapping of header names to values, both strings"

    checked: dict[str, str] = {}
    names: set[str] = set()

    for number, (name, content) in enumerate(_mapping(wanted, value).items(), 1):
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigError(
                f"{wanted}; the name of header number {number} is invalid (it isn't shown here)."
            )

        shown = repr(name) if len(name) <= _LONGEST_SHOWN else f"header number {number}"

        if not isinstance(content, str):
            raise ConfigError(
                f"{wanted}; the value of {shown} is of type {type(content).__name__!r}."
            )

        if not content.isprintable() or not content.isascii():
            raise ConfigError(
                f"{wanted}; the value of {shown} holds what a header can't (a line break, say)."
            )

        if name.lower() in _HEADERS_OF_EACH_REQUEST:
            raise ConfigError(f"{key} must not hold {shown}, which each request has of its own.")

        if name.lower() in names:
            raise ConfigError(f"{key} must hold each header once; {shown} is there twice.")

        names.add(name.lower())
        checked[name] = content

    return checked


def binds(key: str, value: t.Any) -> dict[str, dict[str, t.Any]]:
    """Check the form of the binds: the settings of each, by its key. Their values are not checked.

    :param key: Where the value was set.
    :param value: A mapping of keys to mappings of names to values; or text with a JSON object.
    :return: A copy.
    :raises ConfigError: if it is not such a mapping, or a key or name is not a non-empty string.
    """
    wanted = "must be a mapping of bind keys to mappings of settings, like {'eu': {'REGION': …}}"
    checked: dict[str, dict[str, t.Any]] = {}

    for bind_key, given in _mapping(f"{key} {wanted}", value).items():
        if not isinstance(bind_key, str) or not bind_key:
            raise ConfigError(f"{key} {wanted}; a key of it is {_shown(bind_key)}.")

        where = part(key.strip("'"), bind_key)
        settings = _mapping(f"{where} must be a mapping of settings, like {{'REGION': …}}", given)

        for name in settings:
            if not isinstance(name, str):
                raise ConfigError(
                    f"{where} must be a mapping of settings; the name of one is {_shown(name)}."
                )

        checked[bind_key] = {**settings}

    return checked


def part(key: str, name: str) -> str:
    """Where a part of a value was set, for a message.

    :param key: Where the value was set.
    :param name: The name of the part. One that may be a secret in the wrong place is not shown.
    """
    return f"{key}[{repr(name) if len(name) <= _LONGEST_SHOWN else '…'}]"


def _mapping(wanted: str, value: t.Any) -> cabc.Mapping[t.Any, t.Any]:
    """A mapping, or the JSON object that text holds."""
    if isinstance(value, str):
        value = _from_json(value)

    if isinstance(value, str):
        raise ConfigError(f"{wanted}; as text, it must be a JSON object.")

    mapping: t.Any = value

    if not isinstance(value, cabc.Mapping):
        raise ConfigError(f"{wanted}; it is of type {type(value).__name__!r}.")

    checked: cabc.Mapping[t.Any, t.Any] = mapping
    return checked


def _from_json(text: str) -> t.Any:
    """The value of JSON text; the text itself if it is not valid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def table_name_prefix(key: str, value: t.Any) -> str:
    """Check the beginning of table names.

    :param key: Where the value was set.
    :param value: The prefix.
    :return: The prefix; it may be empty.
    :raises ConfigError: if it has a character that table names cannot have, or is too long.
    """
    text = _string(key, value)

    if len(text) > _LONGEST_PREFIX:
        raise ConfigError(
            f"{key} must have at most {_LONGEST_PREFIX} characters, because table names have at"
            f" most 255; it has {len(text)}."
        )

    if not _IN_TABLE_NAMES.fullmatch(text):
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
    """The value for a message, if it can't be a secret in the wrong place: not what is long, of
    another type than text or a number (so whatever holds other values), or has its own repr."""
    if type(value) in {bool, float}:
        return repr(value)

    if type(value) is int:
        is_short = abs(value) < 10**_LONGEST_SHOWN
        return repr(value) if is_short else f"a number of more than {_LONGEST_SHOWN} digits"

    if type(value) is str:
        is_short = len(value) <= _LONGEST_SHOWN
        return repr(value) if is_short else f"a text of {len(value)} characters"

    return f"of type {type(value).__name__!r}"


def _shown_url(value: str) -> str:
    """A URL for a message, if nothing in it can be a password or a token."""
    is_url = "://" in value and len(value) <= _LONGEST_URL_SHOWN
    is_harmless = _URL_WITHOUT_SECRETS.fullmatch(value) is not None

    if not is_harmless:
        return "a text that isn't shown here, because it may hold a password"

    return repr(value) if is_url else _shown(value)
