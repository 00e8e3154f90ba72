"""The settings of an app and its binds: ``DYNAMODB_*`` keys of ``app.config`` -> :class:`Settings`.

All facts of a setting stand in its field of :class:`Settings`; :data:`SETTINGS` gives access to
them. Whatever else depends on a setting (:class:`~dynamo_ext.client.endpoint.Endpoint`, a model's
``Meta``, the tables in the documentation) is derived from these facts or compared with them.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import difflib
import json
import os
import types
import typing as t

import botocore.exceptions
import botocore.session
import pynamodb.settings

from ..call_site import warn
from ..errors import ConfigError
from ..errors import without_origin
from ..printable import escaped
from . import local_file
from . import validators

PREFIX = "DYNAMODB_"
PAY_PER_REQUEST = "PAY_PER_REQUEST"
PROVISIONED = "PROVISIONED"
AUTO = "auto"
BOTOCORE = "botocore"
DIRECT = "direct"
RETRY = "retry"

BlockingCalls = t.Literal["allow", "warn", "raise"]
UncertainWrites = t.Literal["retry", "raise"]
BillingMode = t.Literal["PAY_PER_REQUEST", "PROVISIONED"]
Transport = t.Literal["auto", "botocore", "direct"]

Scope = t.Literal["app", "endpoint", "table"]
"""What the value of a setting belongs to: the app as a whole, one endpoint (and so one client and
one pool), or one table."""

_DEFAULT_REGION = "us-east-1"
_URL_VARIABLES = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL")
_NO_URL_VARIABLES = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
_OVERRIDE_FILE = "the file that PYNAMODB_CONFIG names"
# How the names of settings begin that few other extensions have.
_TELLING_KINDS = {"aws", "billing", "blocking", "region", "slow", "table"}
_MODULES_OF_TRANSPORTS = {DIRECT: ("greenlet", "httptools", "msgspec")}
# There cannot be more connections to one address than ports.
_MOST_CONNECTIONS = 65535
# With waits of 20 s between them, these take most of a year.
_MOST_RETRIES = 1_000_000
# DynamoDB's own limit for its API.
_MOST_CAPACITY_UNITS = 2**63 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """The facts of one setting, apart from its type."""

    name: str
    """Its attribute of :class:`Settings`, which is also its name in a ``Meta``."""

    default: t.Any
    """Its value where nothing is set."""

    check: validators.Check
    """Checks and converts a value."""

    scope: Scope
    """What its value belongs to."""

    secret: bool
    """Whether its value is left out of every repr, log line and message."""

    override_file: bool
    """Whether PynamoDB's own override file may set it."""

    meta: bool
    """Whether a model's ``Meta`` may set it."""

    bind: bool
    """Whether a bind may set it."""

    needs: tuple[str, ...]
    """The settings that must be set in the same place."""

    @property
    def key(self) -> str:
        """Its key in ``app.config``."""
        return PREFIX + self.name.upper()


def _setting(
    check: validators.Check,
    default: t.Any = None,
    *,
    scope: Scope,
    secret: bool = False,
    override_file: bool = False,
    meta: bool | None = None,
    bind: bool = True,
    needs: tuple[str, ...] = (),
) -> t.Any:
    """Declare one setting. Its field has its name, its type, and these facts.

    :param check: Checks and converts a value.
    :param default: The value where nothing is set.
    :param scope: What the value belongs to.
    :param secret: Whether to leave the value out of every repr, log line and message.
    :param override_file: Whether PynamoDB's own override file may set it.
    :param meta: Whether a model's ``Meta`` may set it. Default: unless it belongs to the app.
    :param bind: Whether a bind may set it.
    :param needs: The settings that must be set in the same place.
    """
    return dataclasses.field(
        default=default,
        repr=not secret,
        metadata={
            "check": check,
            "scope": scope,
            "secret": secret,
            "override_file": override_file,
            "meta": scope != "app" if meta is None else meta,
            "bind": bind,
            "needs": needs,
        },
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one app, or of one of its binds, checked and converted.

    :meth:`from_mapping` reads them; :attr:`PynamoDB.settings` gives those of the current app. The
    repr shows neither credentials nor extra headers nor binds.
    """

    region: str = _setting(validators.region, _DEFAULT_REGION, scope="endpoint", override_file=True)
    """AWS region. Default: botocore's chain, then ``us-east-1``."""

    host: str | None = _setting(
        validators.url(or_embedded=True), scope="endpoint", override_file=True
    )
    """URL of DynamoDB; or ``"local://"`` for the embedded engine, ``"local:///todo.db"`` for one
    that keeps its tables in a file. Default: AWS's own."""

    connect_timeout_seconds: float = _setting(
        validators.seconds, 15, scope="endpoint", override_file=True
    )
    """Longest wait for a connection, in seconds."""

    read_timeout_seconds: float = _setting(
        validators.seconds, 30, scope="endpoint", override_file=True
    )
    """Longest wait for a read from a connection, in seconds."""

    base_backoff_ms: int = _setting(
        validators.whole_number(0, validators.MOST_MILLISECONDS),
        25,
        scope="endpoint",
        override_file=True,
    )
    """Base of the exponential back-off between retries, in milliseconds."""

    max_retry_attempts: int = _setting(
        validators.whole_number(0, _MOST_RETRIES), 3, scope="endpoint", override_file=True
    )
    """How often a failed call is retried; 0 for not at all."""

    max_pool_connections: int = _setting(
        validators.whole_number(1, _MOST_CONNECTIONS), 10, scope="endpoint", override_file=True
    )
    """Connections kept, and so calls in flight at once, per engine and process."""

    extra_headers: cabc.Mapping[str, str] | None = _setting(
        validators.headers, scope="endpoint", secret=True, override_file=True
    )
    """Headers added to every request after it was signed."""

    read_capacity_units: int | None = _setting(
        validators.whole_number(1, _MOST_CAPACITY_UNITS), scope="table"
    )
    """Default read capacity of tables and their indexes."""

    write_capacity_units: int | None = _setting(
        validators.whole_number(1, _MOST_CAPACITY_UNITS), scope="table"
    )
    """Default write capacity of tables and their indexes."""

    aws_access_key_id: str | None = _setting(
        validators.sent_credential, scope="endpoint", secret=True, needs=("aws_secret_access_key",)
    )
    """Access key. Default: botocore's credential chain."""

    aws_secret_access_key: str | None = _setting(
        validators.credential, scope="endpoint", secret=True, needs=("aws_access_key_id",)
    )
    """Secret key that belongs to the access key."""

    aws_session_token: str | None = _setting(
        validators.sent_credential,
        scope="endpoint",
        secret=True,
        needs=("aws_access_key_id", "aws_secret_access_key"),
    )
    """Session token of temporary credentials."""

    pool_timeout_seconds: float = _setting(validators.seconds, 30, scope="app")
    """Longest wait for a slot of the pool, in seconds."""

    call_timeout_seconds: float | None = _setting(validators.seconds, scope="app")
    """Longest time for a call in all: queue, attempts, waits; in seconds. ``None``: no limit."""

    slow_call_ms: float | None = _setting(validators.milliseconds, scope="app")
    """Duration from which on a call is logged as slow, in milliseconds. ``None``: never."""

    blocking_calls: BlockingCalls | None = _setting(
        validators.choice(*t.get_args(BlockingCalls)), scope="app", bind=False
    )
    """What a blocking call on an event loop's thread does. ``None``: ``"warn"`` in debug and
    testing, else ``"allow"``."""

    record_calls: bool | None = _setting(validators.switch, scope="app", bind=False)
    """Whether each request keeps a record of its calls. ``None``: in debug mode."""

    uncertain_writes: UncertainWrites = _setting(
        validators.choice(*t.get_args(UncertainWrites)), RETRY, scope="app"
    )
    """What happens to a write that may have been applied, and is not the same if it is applied
    twice: ``"retry"`` sends it again, ``"raise"`` raises :exc:`~dynamo_ext.WriteOutcomeUnknown`."""

    table_name_prefix: str = _setting(validators.table_name_prefix, "", scope="table")
    """Put before every table name."""

    billing_mode: BillingMode | None = _setting(
        validators.choice(*t.get_args(BillingMode)), scope="table"
    )
    """Billing mode of new tables. ``None``: on demand unless capacity is set."""

    transport: Transport = _setting(
        validators.choice(*t.get_args(Transport), modules=_MODULES_OF_TRANSPORTS),
        AUTO,
        scope="endpoint",
        meta=False,
    )
    """How requests travel: through botocore, or past most of it. ``"auto"``: past most of it where
    the extra ``direct`` is installed, but never by the hub."""

    binds: cabc.Mapping[str, Settings] | None = _setting(
        validators.binds, scope="app", secret=True, bind=False
    )
    """By bind key, the settings of each bind: the app's, but for what the bind sets itself."""

    def __post_init__(self) -> None:
        check_needs(vars(self), lambda name: f"'{SETTINGS[name].key}'")

    @classmethod
    def from_mapping(cls, config: cabc.Mapping[str, t.Any]) -> Settings:
        """Read the settings from a mapping such as :attr:`flask.Flask.config`.

        What is absent or ``None`` comes from PynamoDB's own override file (the one that
        ``PYNAMODB_CONFIG`` names), then from the default; in a bind, from the app. Text is
        converted where a number or a mapping is wanted, since environment variables are text.

        :param config: The mapping. Keys that don't start with ``DYNAMODB_`` are ignored.
        :return: The settings.
        :raises ConfigError: if a value is wrong. The message names the key.
        """
        warnings = [*_unknown_keys(config), *_lost_prefix(config), *_useless_overrides()]
        values: dict[str, t.Any] = {}
        binds: dict[str, dict[str, t.Any]] = {}
        settings = refusal = None

        try:
            values = _read(config)
            binds = values.pop("binds", {})
            settings = cls(**values)

            if binds:
                settings = dataclasses.replace(settings, binds=_read_binds(settings, binds))

            warnings += _ignored_region(values)
        except ConfigError as error:
            refusal = error

        # Tools that report errors show the variables of each frame of the traceback.
        del config, values, binds

        for message in warnings:
            warn(message, UserWarning)

        if refusal is not None:
            raise without_origin(refusal)

        return t.cast(Settings, settings)


SETTINGS: cabc.Mapping[str, Setting] = types.MappingProxyType(
    {
        field.name: Setting(name=field.name, default=field.default, **field.metadata)
        for field in dataclasses.fields(Settings)
    }
)
"""The facts of every setting, by its name."""


def _read(config: cabc.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The checked values of the settings that are set, by name.

    :raises ConfigError: if a value is invalid. Frames of its traceback hold secrets.
    """
    values: dict[str, t.Any] = {}

    for name, setting in SETTINGS.items():
        value, origin = config.get(setting.key), f"'{setting.key}'"

        if value is None and setting.override_file:
            value = pynamodb.settings.get_settings_value(name)
            origin = f"'{name}' in {_OVERRIDE_FILE}"

        if value is not None:
            values[name] = setting.check(origin, value)

    if "region" not in values and (region := region_of_chain()) is not None:
        values["region"] = region

    if "host" not in values:
        _check_url_of_environment()

    return values


def _read_binds(
    app: Settings, binds: cabc.Mapping[str, cabc.Mapping[str, t.Any]]
) -> cabc.Mapping[str, Settings]:
    """The settings of each bind.

    :param app: The app's settings.
    :param binds: What each bind sets.
    :raises ConfigError: if a value is invalid. Frames of its traceback hold secrets.
    """
    read = {bind_key: _read_bind(app, bind_key, given) for bind_key, given in binds.items()}
    return types.MappingProxyType(read)


def _read_bind(app: Settings, bind_key: str, given: cabc.Mapping[str, t.Any]) -> Settings:
    where = validators.part(f"{PREFIX}BINDS", bind_key)
    names = {setting.name.upper(): setting for setting in SETTINGS.values()}

    def origin(name: str) -> str:
        return validators.part(where, name.upper())

    for key in given:
        if key not in names:
            raise ConfigError(f"{validators.part(where, key)} {_no_setting(key)}")

        if not names[key].bind:
            raise ConfigError(
                f"{origin(key)} can't be set: it is a setting of the whole app. Remove it, and set"
                f" '{names[key].key}' in app.config instead."
            )

    own = {
        names[key].name: names[key].check(origin(key), value)
        for key, value in given.items()
        if value is not None
    }
    return dataclasses.replace(app, **from_one_place(own, origin))


def _no_setting(name: str) -> str:
    """The rest of a message about a name in a bind that is no setting."""
    known = [setting.name.upper() for setting in SETTINGS.values() if setting.bind]
    likely = name.upper().removeprefix(PREFIX)
    message = (
        "is not a setting: in a bind, the names of settings are in upper case, without prefix."
    )

    if nearest := difflib.get_close_matches(likely, known, n=1):
        message += f" Did you mean '{nearest[0]}'?"

    return message


def from_one_place(
    values: dict[str, t.Any], describe: cabc.Callable[[str], str]
) -> dict[str, t.Any]:
    """See to it that settings that need each other (the credentials) come from one place: where
    keys are set, the session token of another place is not inherited.

    :param values: The values that were set in one place, by the names of their settings.
    :param describe: Gives the text by which a message names a setting of that place.
    :return: The values, with ``None`` for what must not be inherited.
    :raises ConfigError: if a setting has a value, and one that it needs has none.
    """
    together = [name for name, setting in SETTINGS.items() if setting.needs]

    if values.keys().isdisjoint(together):
        return values

    check_needs(values, describe)
    return {**dict.fromkeys(together), **values}


def check_needs(values: cabc.Mapping[str, t.Any], describe: cabc.Callable[[str], str]) -> None:
    """Refuse a setting without those that it needs: half a pair of credentials.

    :param values: The values that were set in one place, by the names of their settings.
    :param describe: Gives the text by which a message names a setting of that place.
    :raises ConfigError: if a setting has a value, and one that it needs has none.
    """
    given = [name for name, setting in SETTINGS.items() if setting.needs and _has(values, name)]
    needed = {name for setting in given for name in SETTINGS[setting].needs}
    missing = [name for name in SETTINGS if name in needed and not _has(values, name)]

    if missing:
        raise ConfigError(
            f"{' and '.join(map(describe, missing))} must be set together with"
            f" {' and '.join(map(describe, given))};"
            " leave out all of them to use botocore's credential chain."
        )


def _has(values: cabc.Mapping[str, t.Any], name: str) -> bool:
    return values.get(name) is not None


def _unknown_keys(config: cabc.Mapping[str, t.Any]) -> cabc.Iterator[str]:
    """A warning for each key that has our prefix, and is no setting."""
    known = [setting.key for setting in SETTINGS.values()]

    for key in config:
        if not str(key).startswith(PREFIX) or key in known:
            continue

        message = f"'{escaped(key)}' is not a setting of dynamo-ext and has no effect."

        if nearest := difflib.get_close_matches(key, known, n=1, cutoff=0):
            message += f" Did you mean '{nearest[0]}'?"

        yield message


def _lost_prefix(config: cabc.Mapping[str, t.Any]) -> cabc.Iterator[str]:
    """A warning of settings without ``DYNAMODB_``: ``from_prefixed_env("DYNAMODB")`` removes it.

    One such key may be another extension's. It counts if its value is that of an environment
    variable with the prefix. So do keys of several kinds, some of which are of AWS or of tables.
    """
    if any(str(key).startswith(PREFIX) for key in config):
        return

    found = [name for name in SETTINGS if config.get(name.upper()) is not None]

    if not _are_of_several_kinds(found, config) and not any(
        _is_from_environment(name, config) for name in found
    ):
        return

    keys = [SETTINGS[name].key for name in found]
    yield (
        f"{_listed(key.removeprefix(PREFIX) for key in keys)} without the prefix '{PREFIX}' has no"
        f" effect in dynamo-ext, and no key has it. app.config.from_prefixed_env('DYNAMODB')"
        " removes it. Call app.config.from_prefixed_env(), which reads"
        f" {_listed('FLASK_' + key for key in keys)} (in Quart: QUART_...). If these keys are not"
        f" meant for dynamo-ext, set any of its own, such as '{SETTINGS['region'].key}'."
    )


def _are_of_several_kinds(names: list[str], config: cabc.Mapping[str, t.Any]) -> bool:
    # Another program's HOST is the name of a host rather than a URL.
    kinds = {
        name.partition("_")[0]
        for name in names
        if name != "host" or "://" in str(config[name.upper()])
    }
    return len(kinds) > 1 and not kinds.isdisjoint(_TELLING_KINDS)


def _is_from_environment(name: str, config: cabc.Mapping[str, t.Any]) -> bool:
    """Whether a setting's name without prefix has the value of the variable with the prefix."""
    text = os.environ.get(SETTINGS[name].key)

    if text is None:
        return False

    try:
        value = json.loads(text)
    except ValueError:
        value = text

    return bool(config[name.upper()] == value)


def _listed(names: cabc.Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _useless_overrides() -> cabc.Iterator[str]:
    """A warning for each setting in the override file that has no effect: PynamoDB's and ours."""
    for name in sorted({*pynamodb.settings.default_settings_dict, *SETTINGS}):
        setting = SETTINGS.get(name)

        if setting is not None and setting.override_file:
            continue

        if hasattr(pynamodb.settings.override_settings, name):
            message = f"'{name}' in {_OVERRIDE_FILE} has no effect in dynamo-ext."

            if setting is not None:
                message += f" Set '{setting.key}' in app.config instead."

            yield message


def _check_url_of_environment() -> None:
    """Check the URL that botocore takes where no host is set: it shows it in its own messages.

    :raises ConfigError: if the URL is invalid, or may hold a secret.
    """
    # In botocore's order. It takes an empty one for none.
    names = [name for name in _URL_VARIABLES if os.environ.get(name)]

    if names and os.environ.get(_NO_URL_VARIABLES, "").lower() != "true":
        check = validators.url(or_embedded=False)
        check(f"the environment variable '{names[0]}'", os.environ[names[0]])


def _ignored_region(values: cabc.Mapping[str, t.Any]) -> cabc.Iterator[str]:
    """A warning where the region is only in ``AWS_REGION``, which botocore does not read.

    :param values: The settings that are set. The embedded engine is in no region.
    """
    ignored = os.environ.get("AWS_REGION")

    if not ignored or ignored == _DEFAULT_REGION or "region" in values:
        return

    if not local_file.is_embedded(values.get("host")):
        yield (
            f"'AWS_REGION' is {ignored!r}, which has no effect: botocore reads"
            f" 'AWS_DEFAULT_REGION'. The region is {_DEFAULT_REGION!r}. Set"
            f" '{SETTINGS['region'].key}' or 'AWS_DEFAULT_REGION' instead."
        )


def region_of_chain() -> str | None:
    """The region that botocore itself finds (environment, profile).

    :return: The region; ``None`` if there is none.
    :raises ConfigError: if AWS's own configuration cannot be read, or names an invalid region.
    """
    setting = SETTINGS["region"]

    try:
        # No client is created here, so nobody needs the handlers of a client's events.
        session = botocore.session.Session(include_builtin_handlers=False)
        region: str | None = session.get_config_variable("region")
    except botocore.exceptions.BotoCoreError as error:
        # The cause of this error may hold a line of the file with the credentials.
        raise ConfigError(
            f"'{setting.key}' is not set and AWS's own configuration can't be read:"
            f" {escaped(error)}"
        ) from None

    if region is None:
        return None

    origin = f"'{setting.key}' is not set, and the region of AWS's own configuration"
    return t.cast(str, setting.check(origin, region))
