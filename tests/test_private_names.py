"""Every private name of another project that is used here, and in which room.

A release that moves one fails here first. So does a room that begins to use another one.
"""

from __future__ import annotations

import ast
import asyncio
import collections.abc as cabc
import dataclasses
import importlib
import importlib.util
import inspect
import pathlib
import pkgutil
import re
import types
import typing as t

import anyio
import botocore.client
import botocore.config
import botocore.session
import flask
import flask.globals
import opentelemetry.context
import pynamodb.connection
import pynamodb.connection.base
import pynamodb.models
import pynamodb.pagination
import pynamodb.transactions
import pytest
import quart
import quart.globals
import urllib3
from botocore.retries import standard
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex

import dynamo_ext
import dynamo_ext_async
from dynamo_ext.models import deserializer
from dynamo_ext.transport.parser import ParserFactory

pytestmark = pytest.mark.once(reason="names are looked up")

_PRIVATE = re.compile(r"_[^_]\w*")
_PACKAGES: tuple[types.ModuleType, ...] = (dynamo_ext, dynamo_ext_async)
# Documented, or for type checkers only.
_OF_THE_STANDARD_LIBRARY = {"_exit", "_typeshed", "_winapi"}


@dataclasses.dataclass(frozen=True)
class Use:
    """A private name and where it is used."""

    name: str
    rooms: tuple[str, ...]
    find: cabc.Callable[[], t.Any]
    """Gives what the name stands for, or raises an error."""

    parameters: tuple[str, ...] | None = None
    """What a function takes; ``None`` if it is none."""


class _Index(GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-id"
        projection = AllProjection()

    id = UnicodeAttribute(hash_key=True)


class _Model(pynamodb.models.Model):
    class Meta:
        table_name = "table"

    id = UnicodeAttribute(hash_key=True)
    by_id = _Index()


def _client() -> t.Any:
    session = botocore.session.get_session()
    session.set_credentials("key", "secret")
    return session.create_client(
        "dynamodb",
        "us-east-1",
        config=botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 3}),
    )


def _http_session() -> t.Any:
    return _client()._endpoint.http_session


def _page_iterator() -> pynamodb.pagination.PageIterator[t.Any]:
    return pynamodb.pagination.PageIterator(lambda: None, (), {})


def _result_iterator() -> pynamodb.pagination.ResultIterator[t.Any]:
    return pynamodb.pagination.ResultIterator(lambda: None, (), {}, map_fn=repr, limit=1)


USES = [
    Use(
        "_SUPPRESS_INSTRUMENTATION_KEY",
        ("dynamo_ext.opentelemetry",),
        lambda: opentelemetry.context._SUPPRESS_INSTRUMENTATION_KEY,
    ),
    Use(
        "_make_api_call",
        ("dynamo_ext.client.connection",),
        lambda: pynamodb.connection.base.Connection._make_api_call,
        ("self", "operation_name", "operation_kwargs"),
    ),
    Use(
        "_botocore_private",
        ("dynamo_ext.client.connection",),
        lambda: (
            importlib.import_module(
                "pynamodb.connection._botocore_private"
            ).BotocoreBaseClientPrivate
        ),
    ),
    Use(
        "_get_connection",
        (
            "dynamo_ext.models.model",
            "dynamo_ext.models.plain_queries",
            "dynamo_ext.models.tables",
        ),
        lambda: t.cast(t.Any, _Model._get_connection).__func__,
        ("cls",),
    ),
    Use(
        "_get_schema",
        ("dynamo_ext.binding.app_state", "dynamo_ext.models.tables"),
        lambda: t.cast(t.Any, _Model._get_schema).__func__,
        ("cls",),
    ),
    Use(
        "_get_discriminator_attribute",
        (
            "dynamo_ext.models.model",
            "dynamo_ext.models.plain_queries",
            "dynamo_ext.models.queries",
        ),
        lambda: t.cast(t.Any, _Model._get_discriminator_attribute).__func__,
        ("cls",),
    ),
    Use(
        "_hash_key_attribute",
        (
            "dynamo_ext.models.batch",
            "dynamo_ext.models.keys",
            "dynamo_ext.models.plain_queries",
            "dynamo_ext.models.planned",
            "dynamo_ext.models.usual_keys",
        ),
        lambda: t.cast(t.Any, _Model._hash_key_attribute).__func__,
        ("cls",),
    ),
    Use(
        "_range_key_attribute",
        (
            "dynamo_ext.models.batch",
            "dynamo_ext.models.keys",
            "dynamo_ext.models.planned",
            "dynamo_ext.models.usual_keys",
        ),
        lambda: t.cast(t.Any, _Model._range_key_attribute).__func__,
        ("cls",),
    ),
    Use(
        "_version_attribute_name",
        ("dynamo_ext.models.planned",),
        lambda: hasattr(_Model, "_version_attribute_name") or None,
    ),
    Use(
        "_serialize_keys",
        (
            "dynamo_ext.models.keys",
            "dynamo_ext.models.plain_queries",
            "dynamo_ext.models.planned",
            "dynamo_ext.models.usual_keys",
        ),
        lambda: t.cast(t.Any, _Model._serialize_keys).__func__,
        ("cls", "hash_key", "range_key"),
    ),
    Use(
        "_get_hash_range_key_serialized_values",
        ("dynamo_ext.models.keys", "dynamo_ext.models.planned"),
        lambda: _Model._get_hash_range_key_serialized_values,
        ("self",),
    ),
    Use(
        "_instantiate",
        ("dynamo_ext.models.deserializer",),
        lambda: t.cast(t.Any, _Model._instantiate).__func__,
        ("cls", "attribute_values"),
    ),
    Use(
        "_get_discriminator_class",
        ("dynamo_ext.models.deserializer", "dynamo_ext.models.planned"),
        lambda: t.cast(t.Any, _Model._get_discriminator_class).__func__,
        ("cls", "attribute_values"),
    ),
    Use(
        "_get_save_args",
        ("dynamo_ext.models.planned",),
        lambda: _Model._get_save_args,
        ("self", "condition", "add_version_condition"),
    ),
    Use(
        "_handle_version_attribute",
        ("dynamo_ext.models.planned",),
        lambda: _Model._handle_version_attribute,
        ("self", "attributes", "actions"),
    ),
    Use(
        "_set_discriminator",
        ("dynamo_ext.models.deserializer",),
        lambda: _Model._set_discriminator,
        ("self",),
    ),
    Use(
        "_set_defaults",
        ("dynamo_ext.models.deserializer",),
        lambda: _Model._set_defaults,
        ("self", "_user_instantiated"),
    ),
    Use(
        "_container_serialize",
        ("dynamo_ext.models.item_serializer",),
        lambda: _Model._container_serialize,
        ("self", "null_check"),
    ),
    Use(
        "_dynamo_to_python_attr",
        ("dynamo_ext.models.deserializer", "dynamo_ext.models.item_serializer"),
        lambda: t.cast(t.Any, _Model._dynamo_to_python_attr).__func__,
        ("cls", "dynamo_key"),
    ),
    Use(
        "_discriminator",
        ("dynamo_ext.models.deserializer",),
        lambda: [t.cast(t.Any, _Model)._discriminator],
    ),
    Use("_get_keys", ("dynamo_ext.models.batch",), lambda: _Model._get_keys, ("self",)),
    Use(
        "_indexes",
        ("dynamo_ext.models.queries", "dynamo_ext_async.models.model"),
        lambda: _Model._indexes["by-id"],
    ),
    Use(
        "_model",
        ("dynamo_ext_async.models.twins",),
        lambda: t.cast(t.Any, _Model.by_id)._model,
    ),
    Use(
        "_kwargs",
        (
            "dynamo_ext.models.decoded_reply",
            "dynamo_ext.web.pending_query",
            "dynamo_ext_async.models.twins",
        ),
        lambda: _page_iterator()._kwargs,
    ),
    Use(
        "_args",
        ("dynamo_ext.models.decoded_reply", "dynamo_ext.web.pending_query"),
        lambda: [_page_iterator()._args],
    ),
    Use(
        "_operation",
        (
            "dynamo_ext.models.decoded_reply",
            "dynamo_ext.models.results",
            "dynamo_ext.web.pending_query",
        ),
        lambda: _page_iterator()._operation,
    ),
    Use(
        "_is_last_page",
        ("dynamo_ext.models.decoded_reply", "dynamo_ext.web.pending_query"),
        lambda: [_page_iterator()._is_last_page],
    ),
    Use(
        "_last_evaluated_key",
        ("dynamo_ext.models.decoded_reply",),
        lambda: [_page_iterator()._last_evaluated_key],
    ),
    Use(
        "_total_scanned_count",
        ("dynamo_ext.models.decoded_reply",),
        lambda: [_page_iterator()._total_scanned_count],
    ),
    Use(
        "_rate_limiter",
        (
            "dynamo_ext.models.decoded_reply",
            "dynamo_ext.web.pending_query",
            "dynamo_ext_async.models.iteration",
        ),
        lambda: [_page_iterator()._rate_limiter],
    ),
    Use(
        "_limit",
        (
            "dynamo_ext.models.results",
            "dynamo_ext.web.pending_query",
            "dynamo_ext_async.models.iteration",
        ),
        lambda: _result_iterator()._limit,
    ),
    Use(
        "_map_fn",
        (
            "dynamo_ext.models.results",
            "dynamo_ext.web.pending_query",
            "dynamo_ext_async.models.iteration",
        ),
        lambda: _result_iterator()._map_fn,
    ),
    Use("_index", ("dynamo_ext.models.results",), lambda: [_result_iterator()._index]),
    Use("_count", ("dynamo_ext.models.results",), lambda: [_result_iterator()._count]),
    Use(
        "_get_next_page",
        ("dynamo_ext.models.results",),
        lambda: pynamodb.pagination.ResultIterator._get_next_page,
        ("self",),
    ),
    Use("_ModelFuture", ("dynamo_ext.models.transaction",), lambda: pynamodb.models._ModelFuture),
    Use(
        "_commit",
        ("dynamo_ext_async.models.transaction",),
        lambda: pynamodb.transactions.TransactWrite._commit,
        ("self",),
    ),
    Use(
        "_connection",
        ("dynamo_ext.models.transaction", "dynamo_ext_async.models.transaction"),
        lambda: pynamodb.transactions.TransactGet(pynamodb.connection.Connection())._connection,
    ),
    Use(
        "_make_api_call",
        ("dynamo_ext.transport.installation",),
        lambda: t.cast(t.Any, botocore.client.BaseClient)._make_api_call,
        ("self", "operation_name", "api_params"),
    ),
    Use(
        "_endpoint",
        (
            "dynamo_ext.calls.deadline",
            "dynamo_ext.transport.prepared",
            "dynamo_ext.transport.template",
        ),
        lambda: _client()._endpoint.http_session.send,
        ("request",),
    ),
    Use(
        "_request_signer",
        ("dynamo_ext.transport.prepared",),
        lambda: _client()._request_signer,
    ),
    Use(
        "_credentials",
        ("dynamo_ext.transport.prepared",),
        lambda: _client()._request_signer._credentials.get_frozen_credentials,
        (),
    ),
    Use(
        "_update_retries_context",
        ("dynamo_ext.transport.prepared", "dynamo_ext.transport.template"),
        lambda: _client()._endpoint._update_retries_context,
        ("context", "attempt", "success_response"),
    ),
    Use(
        "_add_modeled_error_fields",
        ("dynamo_ext.transport.prepared",),
        lambda: _client()._endpoint._add_modeled_error_fields,
        ("response_dict", "parsed_response", "operation_model", "parser"),
    ),
    Use(
        "_proxy_config",
        ("dynamo_ext.transport.direct.opening",),
        lambda: _http_session()._proxy_config.proxy_url_for,
        ("url",),
    ),
    Use(
        "_get_request_target",
        ("dynamo_ext.transport.direct.opening",),
        lambda: _http_session()._get_request_target,
        ("url", "proxy_url"),
    ),
    Use(
        "_path_url",
        ("dynamo_ext.transport.direct.opening",),
        lambda: _http_session()._path_url,
        ("url",),
    ),
    Use(
        "_get_connection_manager",
        ("dynamo_ext.transport.direct.opening",),
        lambda: _http_session()._get_connection_manager,
        ("url", "proxy_url"),
    ),
    Use(
        "_setup_ssl_cert",
        ("dynamo_ext.transport.direct.opening",),
        lambda: _http_session()._setup_ssl_cert,
        ("conn", "url", "verify"),
    ),
    Use(
        "_verify",
        ("dynamo_ext.transport.direct.opening",),
        lambda: [_http_session()._verify],
    ),
    Use(
        "_timeout",
        ("dynamo_ext.transport.direct.opening",),
        lambda: _http_session()._timeout.clone().connect_timeout,
    ),
    Use(
        "_new_conn",
        ("dynamo_ext.transport.direct.opening",),
        lambda: urllib3.HTTPSConnectionPool._new_conn,
        ("self",),
    ),
    Use(
        "_prepare_proxy",
        ("dynamo_ext.transport.direct.opening",),
        lambda: t.cast(t.Any, urllib3.HTTPSConnectionPool)._prepare_proxy,
        ("self", "conn"),
    ),
    Use(
        "_endpoint",
        ("dynamo_ext.transport.installation",),
        lambda: _client()._endpoint.http_session._manager.pools.lock,
    ),
    Use(
        "_manager",
        ("dynamo_ext.transport.installation",),
        lambda: [_client()._endpoint.http_session._manager.pools.keys()],
    ),
    Use(
        "_proxy_managers",
        ("dynamo_ext.transport.installation",),
        lambda: [_client()._endpoint.http_session._proxy_managers.values()],
    ),
    Use(
        "_pool_classes_by_scheme",
        ("dynamo_ext.transport.installation",),
        lambda: [_http_session()._pool_classes_by_scheme["https"]],
    ),
    Use(
        "_make_api_call",
        ("dynamo_ext.transport.hooks",),
        lambda: t.cast(t.Any, botocore.client.BaseClient)._make_api_call,
    ),
    Use("_endpoint", ("dynamo_ext.transport.hooks",), lambda: _client()._endpoint.make_request),
    Use("_emitter", ("dynamo_ext.transport.hooks",), lambda: _client().meta.events._emitter),
    Use(
        "_handlers",
        ("dynamo_ext.transport.hooks",),
        lambda: _client().meta.events._emitter._handlers.prefix_search,
        ("key",),
    ),
    Use(
        "_lookup_cache",
        ("dynamo_ext.transport.hooks",),
        lambda: [_client().meta.events._emitter._lookup_cache],
    ),
    Use(
        "_serializer",
        ("dynamo_ext.transport.template",),
        lambda: _client()._serializer.serialize_to_request,
        ("parameters", "operation_model"),
    ),
    Use(
        "_resolve_endpoint_ruleset",
        ("dynamo_ext.transport.template",),
        lambda: _client()._resolve_endpoint_ruleset,
        ("operation_model", "params", "request_context", "ignore_signing_region"),
    ),
    Use(
        "_convert_to_request_dict",
        ("dynamo_ext.transport.template",),
        lambda: _client()._convert_to_request_dict,
        (
            "api_params",
            "operation_model",
            "endpoint_url",
            "context",
            "headers",
            "set_user_agent_header",
        ),
    ),
    Use(
        "_retry_quota",
        ("dynamo_ext.calls.retry",),
        lambda: (
            t.cast(
                t.Any, standard.register_retry_handler(_client())
            )._retry_quota.release_retry_quota
        ),
        ("context", "http_response", "kwargs"),
    ),
    Use(
        "_timeout",
        ("dynamo_ext.calls.deadline",),
        lambda: _client()._endpoint.http_session._timeout.clone,
        (),
    ),
    Use(
        "_manager",
        ("dynamo_ext.calls.deadline",),
        lambda: _client()._endpoint.http_session._manager.connection_pool_kw["timeout"],
    ),
    Use(
        "_request_signer",
        ("dynamo_ext.transport.sigv4",),
        lambda: _client()._request_signer.get_auth_instance,
    ),
    Use(
        "_get_current_object",
        ("dynamo_ext.flask", "dynamo_ext_async.extension"),
        lambda: t.cast(t.Any, flask.request)._get_current_object,
        (),
    ),
    Use(
        "_cv_app",
        ("dynamo_ext.flask",),
        lambda: _current_object_of_flask(),
    ),
    Use(
        "_cv_app",
        ("dynamo_ext_async.extension",),
        lambda: asyncio.run(_current_object_of_quart()),
    ),
    Use(
        "_task_states",
        ("dynamo_ext_async.execution.on_loop",),
        lambda: anyio.run(_is_found_in_scope) or None,
    ),
    Use(
        "_get_running_loop",
        (
            "dynamo_ext.calls.blocking",
            "dynamo_ext.models.turns",
            "dynamo_ext_async.execution.completion",
            "dynamo_ext_async.execution.on_loop",
        ),
        lambda: asyncio._get_running_loop,
        (),
    ),
]


async def _is_found_in_scope() -> bool:
    tasks = importlib.import_module("anyio._backends._asyncio")._task_states

    async def find() -> bool:
        return asyncio.current_task() in tasks

    found: list[bool] = []

    with anyio.CancelScope():
        found += await find(), await asyncio.create_task(find())

    return found == [True, False]


def _current_object_of_flask() -> t.Any:
    app = flask.Flask(__name__)

    with app.app_context() as context:
        current: t.Any = flask.globals._cv_app.get(None)
        assert current is context
        assert current.app is app
        return current


async def _current_object_of_quart() -> t.Any:
    app = quart.Quart(__name__)

    async with app.app_context() as context:
        current: t.Any = quart.globals._cv_app.get(None)
        assert current is context
        assert current.app is app
        return current


@pytest.mark.parametrize("use", USES, ids=[f"{use.name}-{use.rooms[0]}" for use in USES])
def test_a_private_name_is_still_there(use: Use) -> None:
    found = use.find()
    assert found is not None

    if use.parameters is not None:
        assert tuple(inspect.signature(found).parameters) == use.parameters


def test_no_room_uses_a_private_name_that_is_not_listed() -> None:
    listed = {(room, use.name) for use in USES for room in use.rooms}
    used = {(room, name) for room, tree in rooms() for name in foreign_names(tree)}
    assert used - listed == set()


def test_no_room_overrides_a_private_name_that_is_not_listed() -> None:
    listed = {(room, use.name) for use in USES for room in use.rooms}
    overridden = {
        (kind.__module__, name)
        for kind in classes()
        for name, value in vars(kind).items()
        if _PRIVATE.fullmatch(name) and isinstance(value, (types.FunctionType, classmethod))
        for base in foreign_bases(kind)
        if name in vars(base)
    }
    assert overridden - listed == set()
    assert ("dynamo_ext.client.connection", "_make_api_call") in overridden


def test_every_listed_name_is_used() -> None:
    words = {room: set(re.findall(r"\w+", ast.unparse(tree))) for room, tree in rooms()}

    for use in USES:
        for room in use.rooms:
            assert use.name in words[room]


def rooms() -> cabc.Iterator[tuple[str, ast.Module]]:
    for package in _PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            specification = importlib.util.find_spec(module.name)
            assert specification is not None
            source = pathlib.Path(str(specification.origin)).read_text(encoding="utf-8")
            yield module.name, ast.parse(source)


def foreign_names(tree: ast.Module) -> set[str]:
    """The private names that are used in a room without being made there."""
    made: set[str] = set()
    used: set[str] = set()

    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                made.add(name)
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                made.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                made.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                made.add(name)
            case ast.Attribute(attr=name):
                used.add(name)
            case ast.Import(names=names):
                used |= {part for alias in names for part in alias.name.split(".")}
            case ast.ImportFrom(module=module, names=names, level=0):
                used |= {*(module or "").split("."), *(alias.name for alias in names)}
            case ast.Call(func=ast.Name(id="getattr" | "setattr"), args=[_, name, *_]):
                used.add(ast.unparse(name).strip("'"))
            case _:
                pass

    used -= made | _OF_THE_STANDARD_LIBRARY
    return {name for name in used if _PRIVATE.fullmatch(name)}


def classes() -> cabc.Iterator[type]:
    for room, _ in rooms():
        # These two are programs.
        if room not in {"dynamo_ext.local.server", "dynamo_ext.local.__main__"}:
            for thing in vars(importlib.import_module(room)).values():
                if inspect.isclass(thing) and thing.__module__ == room:
                    yield thing


def foreign_bases(kind: type) -> cabc.Iterator[type]:
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] not in {package.__name__ for package in _PACKAGES}:
            yield base


def test_pynamodb_has_every_hook_that_a_plan_looks_at() -> None:
    """As :mod:`dynamo_ext.models.deserializer` does, by name."""
    own = {"__bool__", "__len__", "attribute_values"}

    for hook in deserializer._HOOKS_OF_A_CLASS + deserializer._HOOKS_OF_CREATION:
        assert hasattr(pynamodb.models.Model, hook) == (hook not in own)

    attribute_hooks = (
        *deserializer._HOOKS_OF_AN_ATTRIBUTE,
        *deserializer._HOOKS_OF_AN_ELEMENT,
        *deserializer._HOOKS_OF_READING,
    )

    for hook in attribute_hooks:
        assert any(
            hasattr(kind, hook)
            for kind in (TTLAttribute, UTCDateTimeAttribute, MapAttribute[t.Any, t.Any])
        )


def test_a_session_gives_its_parsers_to_its_clients() -> None:
    """As :mod:`dynamo_ext.client.engine` relies on."""
    factory = ParserFactory()
    session = botocore.session.get_session()
    session.set_credentials("key", "secret")
    session.register_component("response_parser_factory", factory)
    client: t.Any = session.create_client("dynamodb", "us-east-1")
    assert client._endpoint._response_parser_factory is factory
    client.close()


def test_botocore_has_one_handler_of_retries_that_can_be_replaced() -> None:
    """As :mod:`dynamo_ext.calls.retry` does, which no name of an attribute shows."""
    event, name = "needs-retry.dynamodb", "retry-config-dynamodb"
    client = _client()
    events = client.meta.events
    wanted: dict[str, t.Any] = {
        "response": None,
        "endpoint": None,
        "operation": client.meta.service_model.operation_model("GetItem"),
        "attempts": 1,
        "caught_exception": None,
        "request_dict": {"context": {}},
    }
    events.unregister(event, unique_id=name)
    assert events.emit(f"{event}.GetItem", **wanted) == []

    assert tuple(inspect.signature(standard.register_retry_handler).parameters) == (
        "client",
        "max_attempts",
    )
    handler = standard.register_retry_handler(client, 3)
    answered_by = [answering for answering, _ in events.emit(f"{event}.GetItem", **wanted)]
    assert answered_by == [handler.needs_retry]

    events.register(event, lambda **event: 5, unique_id=name)
    assert len(events.emit(f"{event}.GetItem", **wanted)) == 1
    client.close()


def test_urllib3_copies_the_timeout_of_a_client_for_each_request() -> None:
    """As :mod:`dynamo_ext.calls.deadline` relies on."""
    copies: list[urllib3.Timeout] = []

    class Timeout(urllib3.Timeout):
        def clone(self) -> urllib3.Timeout:
            copies.append(super().clone())
            return copies[-1]

    client = _client()
    http_session = client._endpoint.http_session
    http_session._timeout = http_session._manager.connection_pool_kw["timeout"] = Timeout(0.2)
    pool = http_session._manager.connection_from_url("http://127.0.0.1:1")

    with pytest.raises(urllib3.exceptions.HTTPError):
        pool.urlopen("GET", "/", retries=False)

    assert copies
    client.close()


def test_botocore_replaces_its_cache_of_handlers_with_each_registration() -> None:
    """As :mod:`dynamo_ext.transport.hooks` relies on."""
    events: t.Any = _client().meta.events
    caches = [events._emitter._lookup_cache]

    def handle(**event: t.Any) -> None: ...

    for change in (events.register, events.unregister):
        change("before-send", handle)
        caches.append(events._emitter._lookup_cache)
        events.emit("before-endpoint-resolution.dynamodb")
        assert events._emitter._lookup_cache is caches[-1]

    assert len(set(map(id, caches))) == 3
