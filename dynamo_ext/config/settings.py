"""``DYNAMODB_*`` keys of ``app.config`` -> :class:`Settings`.

Every key has its name, type, default and check here, and nowhere else.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import difflib
import importlib.util
import json
import math
import re
import threading
import typing as t
import urllib.parse

import botocore.exceptions
import botocore.session
import pynamodb.settings

from ..call_site import warn
from ..errors import ConfigError

PREFIX = "DYNAMODB_"
LOCAL = "local://"
LAST_RESORT_REGION = "us-east-1"
_OVERRIDE_FILE = "the file that PYNAMODB_CONFIG names"
PAY_PER_REQUEST = "PAY_PER_REQUEST"
PROVISIONED = "PROVISIONED"
BOTOCORE = "botocore"
DIRECT = "direct"

BlockingCalls = t.Literal["allow", "warn", "raise"]
BillingMode = t.Literal["PAY_PER_REQUEST", "PROVISIONED"]
Transport = t.Literal["botocore", "direct"]
Convert = cabc.Callable[[str, t.Any], t.Any]

_FOR_DIRECT = ("greenlet", "httptools", "orjson")
_PORTS = 65535
_WHOLE = re.compile(r"[+-]?[0-9]{1,100}")
_REGION = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_TABLE_NAME_PART = re.compile(r"[A-Za-z0-9_.-]{0,252}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
CREDENTIALS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


def _shown(value: t.Any) -> str:
    """The repr of a value for a message, cut to a readable length."""
    try:
        text = repr(value)
    except Exception:
        return f"of type {type(value).__name__!r}"

    return text if len(text) <= 80 else f"{text[:79]}…"


def _whole(minimum: int, maximum: int | None = None) -> Convert:
    wanted = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"

    def convert(key: str, value: t.Any) -> int:
        number: t.Any = value

        if (isinstance(value, str) and _WHOLE.fullmatch(value.strip())) or (
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

    return convert


def _number(value: t.Any) -> float | None:
    """A number, or the number that a text holds."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None

    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _seconds(key: str, value: t.Any) -> float:
    number = _number(value)

    if number is None or not 0 < number <= threading.TIMEOUT_MAX:
        raise ConfigError(
            f"{key} must be a number of seconds, above 0 and finite; it is {_shown(value)}."
        )

    return number


def _milliseconds(key: str, value: t.Any) -> float:
    number = _number(value)

    if number is None or not 0 <= number < math.inf:
        raise ConfigError(
            f"{key} must be a number of milliseconds, 0 or more and finite; it is {_shown(value)}."
        )

    return number


def _text(key: str, value: t.Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(
            f"{key} must be a string, but it is of type {type(value).__name__!r}. A value that"
            " 'from_prefixed_env' reads is parsed as JSON: put it in double quotes there."
        )

    return value


def _secret(key: str, value: t.Any) -> str:
    text = _text(key, value)

    if not text or text != text.strip() or not text.isprintable():
        raise ConfigError(
            f"{key} must be a non-empty string without white space around it;"
            " leave it out to use botocore's credential chain."
        )

    return text


def _region(key: str, value: t.Any) -> str:
    if not isinstance(value, str) or not _REGION.fullmatch(value):
        raise ConfigError(
            f"{key} must be the name of a region like 'us-east-1'; it is {_shown(value)}."
        )

    return value


def _host(key: str, value: t.Any) -> str:
    wanted = f"{key} must be a URL like 'http://localhost:8000' or 'https://…', or {LOCAL!r}"

    if not isinstance(value, str):
        raise ConfigError(f"{wanted}; it is {_shown(value)}.")

    if value == LOCAL:
        return value

    if "@" in value:
        raise ConfigError(
            f"{wanted}, without user or password (its value isn't shown here); credentials go into"
            " 'DYNAMODB_AWS_ACCESS_KEY_ID' and 'DYNAMODB_AWS_SECRET_ACCESS_KEY'."
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


def _headers(key: str, value: t.Any) -> cabc.Mapping[str, str]:
    wanted = f"{key} must be a mapping of header names to values, both strings"

    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ConfigError(f"{wanted}; as text, it must be a JSON object.") from None

    headers: t.Any = value

    if not isinstance(value, cabc.Mapping):
        raise ConfigError(f"{wanted}; it is of type {type(value).__name__!r}.")

    for name, content in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigError(f"{wanted}; {name!r} is no header name.")

        if not isinstance(content, str):
            raise ConfigError(
                f"{wanted}; the value of {name!r} is of type {type(content).__name__!r}."
            )

        if not content.isprintable() or not content.isascii():
            raise ConfigError(
                f"{wanted}; the value of {name!r} holds what a header can't (a line break, say)."
            )

    return t.cast("dict[str, str]", dict(headers))


def _prefix(key: str, value: t.Any) -> str:
    text = _text(key, value)

    if not _TABLE_NAME_PART.fullmatch(text):
        raise ConfigError(
            f"{key} must consist of what table names may hold"
            f" (letters, digits, '_', '-', '.'); it is {_shown(text)}."
        )

    return text


def _choice(*choices: str) -> Convert:
    def convert(key: str, value: t.Any) -> str:
        if value not in choices:
            wanted = " or ".join(repr(choice) for choice in choices)
            raise ConfigError(f"{key} must be {wanted}; it is {_shown(value)}.")

        return t.cast(str, value)

    return convert


def _transport(key: str, value: t.Any) -> str:
    transport: str = _choice(BOTOCORE, DIRECT)(key, value)
    missing = [name for name in _FOR_DIRECT if importlib.util.find_spec(name) is None]

    if transport == DIRECT and missing:
        raise ConfigError(
            f"{key} is {DIRECT!r}, which needs {' and '.join(missing)}: install"
            f" 'dynamo-ext[{DIRECT}]', or set it to {BOTOCORE!r}."
        )

    return transport


def _setting(
    convert: Convert, default: t.Any = None, *, override_file: bool = False, secret: bool = False
) -> t.Any:
    """One setting.

    :param convert: Checks and converts a value; gets the key for its messages.
    :param default: The value where nothing is set.
    :param override_file: Whether PynamoDB's own override file may set it.
    :param secret: Whether to keep it out of the repr.
    """
    metadata = {"convert": convert, "override_file": override_file}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one app, checked and converted.

    Made by :meth:`from_mapping`; :attr:`PynamoDB.settings` gives those of the
    current app. Credentials and the values of extra headers are not in its repr.
    """

    region: str = _setting(_region, LAST_RESORT_REGION, override_file=True)
    """AWS region. Default: botocore's chain, then ``us-east-1``."""

    host: str | None = _setting(_host, override_file=True)
    """URL of DynamoDB, or ``"local://"`` for the embedded engine. Default: AWS's own."""

    connect_timeout_seconds: float = _setting(_seconds, 15, override_file=True)
    """Longest wait for a connection, in seconds."""

    read_timeout_seconds: float = _setting(_seconds, 30, override_file=True)
    """Longest wait for a read from a connection, in seconds."""

    base_backoff_ms: int = _setting(_whole(0), 25, override_file=True)
    """Base of the exponential back-off between retries, in milliseconds."""

    max_retry_attempts: int = _setting(_whole(0), 3, override_file=True)
    """How often a failed call is retried; 0 for not at all."""

    max_pool_connections: int = _setting(_whole(1, _PORTS), 10, override_file=True)
    """Connections kept, and so calls in flight at once, per engine and process."""

    extra_headers: cabc.Mapping[str, str] | None = _setting(
        _headers, override_file=True, secret=True
    )
    """Headers added to every request after it was signed."""

    read_capacity_units: int | None = _setting(_whole(1))
    """Default read capacity of tables and their indexes."""

    write_capacity_units: int | None = _setting(_whole(1))
    """Default write capacity of tables and their indexes."""

    aws_access_key_id: str | None = _setting(_secret, secret=True)
    """Credentials. Default: botocore's chain."""

    aws_secret_access_key: str | None = _setting(_secret, secret=True)
    """Credentials."""

    aws_session_token: str | None = _setting(_secret, secret=True)
    """Credentials."""

    pool_timeout_seconds: float = _setting(_seconds, 30)
    """Longest wait for a slot of the pool, in seconds."""

    call_timeout_seconds: float | None = _setting(_seconds)
    """Longest time for a call in all: queue, attempts, waits; in seconds. ``None``: no limit."""

    slow_call_ms: float | None = _setting(_milliseconds)
    """From when on a call is logged as slow, in milliseconds. ``None``: never."""

    blocking_calls: BlockingCalls | None = _setting(_choice("allow", "warn", "raise"))
    """What a blocking call on an event loop's thread does. ``None``: ``"warn"`` in debug and
    testing, else ``"allow"``."""

    table_name_prefix: str = _setting(_prefix, "")
    """Put before every table name."""

    billing_mode: BillingMode | None = _setting(_choice(PAY_PER_REQUEST, PROVISIONED))
    """Billing mode of new tables. ``None``: on demand unless capacity is set."""

    transport: Transport = _setting(_transport, BOTOCORE)
    """How requests travel: through botocore, or past most of it."""

    def __post_init__(self) -> None:
        check_credentials(vars(self), lambda name: f"'{PREFIX}{name.upper()}'")

    @classmethod
    def from_mapping(cls, config: cabc.Mapping[str, t.Any]) -> Settings:
        """Read the settings from a mapping such as :attr:`flask.Flask.config`.

        What is absent or ``None`` comes from PynamoDB's own override file (the one that
        ``PYNAMODB_CONFIG`` names), then from the default. Text is converted where a number or
        a mapping is wanted, since environment variables are text.

        :param config: The mapping. Keys that don't start with ``DYNAMODB_`` are ignored.
        :raises ConfigError: if a value is wrong. The message names the key.
        """
        _warn_of_unknown_keys(config)
        _warn_of_override_file()
        values: dict[str, t.Any] = {}

        for field in dataclasses.fields(cls):
            key = PREFIX + field.name.upper()
            value, origin = config.get(key), f"'{key}'"

            if value is None and field.metadata["override_file"]:
                value = pynamodb.settings.get_settings_value(field.name)
                origin = f"'{field.name}' in {_OVERRIDE_FILE}"

            if value is not None:
                values[field.name] = convert(field.name, value, origin)

        if "region" not in values:
            values["region"] = _region_of_chain()

        return cls(**values)


def convert(name: str, value: t.Any, origin: str) -> t.Any:
    """Check and convert one value.

    :param name: The attribute of :class:`Settings` that it is for.
    :param value: The value, not ``None``.
    :param origin: Where it was set, for the message.
    :raises ConfigError: if it is wrong.
    """
    return Settings.__dataclass_fields__[name].metadata["convert"](origin, value)


def check_credentials(
    values: cabc.Mapping[str, t.Any], describe: cabc.Callable[[str], str]
) -> None:
    """Refuse half a pair of credentials.

    :param values: What holds the three credentials, among others.
    :param describe: Tells how a credential is called where it was set.
    :raises ConfigError: if a key lacks its other half, or a token its keys.
    """
    here = [describe(name) for name in CREDENTIALS if values[name] is not None]
    missing = [describe(name) for name in CREDENTIALS[:2] if values[name] is None]

    if here and missing:
        raise ConfigError(
            f"{' and '.join(missing)} must be set together with {' and '.join(here)};"
            " leave out all of them to use botocore's credential chain."
        )


def _warn_of_unknown_keys(config: cabc.Mapping[str, t.Any]) -> None:
    known = [PREFIX + field.name.upper() for field in dataclasses.fields(Settings)]

    for key in config:
        if not str(key).startswith(PREFIX) or key in known:
            continue

        message = f"'{key}' is not a setting of dynamo-ext and has no effect."

        if nearest := difflib.get_close_matches(key, known, n=1, cutoff=0):
            message += f" Did you mean '{nearest[0]}'?"

        warn(message, UserWarning)


def _warn_of_override_file() -> None:
    """Warn of what PynamoDB, or one who reads our documentation, would take for a setting there."""
    fields = dataclasses.fields(Settings)
    honoured = {field.name for field in fields if field.metadata["override_file"]}
    known = {*pynamodb.settings.default_settings_dict, *(field.name for field in fields)}

    for name in sorted(known - honoured):
        if hasattr(pynamodb.settings.override_settings, name):
            message = f"'{name}' in {_OVERRIDE_FILE} has no effect in dynamo-ext."

            if name in Settings.__dataclass_fields__:
                message += f" Set '{PREFIX}{name.upper()}' in app.config instead."

            warn(message, UserWarning)


def _region_of_chain() -> str:
    """The region of botocore's own chain (environment, profile), or the last resort.

    :raises ConfigError: if the chain itself is broken.
    """
    try:
        region: str | None = botocore.session.get_session().get_config_variable("region")
    except botocore.exceptions.BotoCoreError as error:
        raise ConfigError(
            f"'{PREFIX}REGION' is not set and AWS's own configuration can't be read: {error}"
        ) from error

    if region is None:
        return LAST_RESORT_REGION

    origin = f"'{PREFIX}REGION' is not set, and the region of AWS's own configuration"
    return t.cast(str, convert("region", region, origin))
