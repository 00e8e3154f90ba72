"""What others have hooked into a botocore client: handlers, stubs, mocks, patches.

Only botocore itself honours all of them. So a call into which anything is hooked goes by botocore,
whatever the transport is: what a test has mocked must never reach the network.
"""

from __future__ import annotations

import collections.abc as cabc
import copy
import dataclasses
import functools
import types
import typing as t

import botocore.awsrequest
import botocore.client
import botocore.endpoint
import botocore.handlers
import botocore.httpsession
import botocore.stub
import urllib3

Handler = cabc.Callable[..., t.Any]

_SERVICE = "dynamodb"
_OURS = __name__.partition(".")[0]
_STOCK = frozenset({"botocore", "urllib3", _OURS})
_MOTO = "moto"
_BaseClient: t.Any = botocore.client.BaseClient
_Endpoint: t.Any = botocore.endpoint.Endpoint
_HTTPSession: t.Any = botocore.httpsession.URLLib3Session
_HTTPPool: t.Any = botocore.awsrequest.AWSHTTPConnectionPool
_HTTPSPool: t.Any = botocore.awsrequest.AWSHTTPSConnectionPool
_UrllibPool: t.Any = urllib3.HTTPConnectionPool
_EVENTS = (
    "provide-client-params",
    "before-parameter-build",
    "before-endpoint-resolution",
    "before-call",
    "request-created",
    "choose-signer",
    "before-sign",
    "before-send",
    "response-received",
    "before-parse",
    "needs-retry",
    "after-call",
    "after-call-error",
)
"""What botocore emits in the course of a call."""


def is_stock(value: t.Any) -> bool:
    """Whether a function or class is defined where it belongs.

    The globals of a function tell, in contrast to its name and module, which wrappers copy. A
    wrapper may also say that it is of the class of what it wraps, and equal to that.

    :param value: The function or class.
    """
    if type(value) is types.FunctionType:
        return _package(value.__globals__.get("__name__")) in _STOCK

    return type(value) is type and _package(value.__module__) in _STOCK


def _package(module: t.Any) -> str:
    return str(module).partition(".")[0]


# What each of botocore's calls passes: tools that trace or mock replace these.
_OWNERS, _NAMES = zip(
    (_BaseClient, "_make_api_call"),
    (_Endpoint, "make_request"),
    (_HTTPSession, "send"),
    (_HTTPPool, "ConnectionCls"),
    (_HTTPSPool, "ConnectionCls"),
    (_UrllibPool, "urlopen"),
    strict=True,
)
# They differ, and still may be stock, if they were replaced when this module was imported.
_as_they_come = [value if is_stock(value) else None for value in map(getattr, _OWNERS, _NAMES)]
_call, _request, _send, _connection, _encrypted_connection, _urlopen = _as_they_come


def _are_as_they_come() -> bool:
    # Each call asks. Python finds a class's attribute that stands in the source many times as
    # fast as by getattr().
    return (
        _BaseClient._make_api_call is _call
        and _Endpoint.make_request is _request
        and _HTTPSession.send is _send
        and _HTTPPool.ConnectionCls is _connection
        and _HTTPSPool.ConnectionCls is _encrypted_connection
        and _UrllibPool.urlopen is _urlopen
    )


@dataclasses.dataclass
class _Found:
    """The handlers that are new, of others, or missing."""

    version: t.Any
    by_operation: dict[str, list[Handler]] = dataclasses.field(
        default_factory=dict[str, list[Handler]]
    )
    all: list[Handler] | None = None


class Hooks:
    """What is hooked into one client now.

    :param client: A botocore client to which all handlers of this project are registered.
    """

    def __init__(self, client: t.Any) -> None:
        self._client = client
        self._emitter: t.Any = client.meta.events._emitter
        self._at_first: t.Any = copy.copy(self._emitter)
        self._endpoint: t.Any = client._endpoint
        self._http_session: t.Any = client._endpoint.http_session
        self._builtin_handlers = 0
        self._handlers = _Found(None)

    @property
    def are_there(self) -> bool:
        """Whether anything is hooked into any operation of the client."""
        if self._is_patched():
            return True

        found = self._found()

        if found.all is None:
            names = self._client.meta.service_model.operation_names
            found.all = [handler for name in names for handler in self._find(name)]

        return any(map(_is_active, found.all))

    def are_in(self, operation_name: str) -> bool:
        """Whether anything is hooked into the calls of an operation.

        :param operation_name: DynamoDB's name of the operation.
        """
        if self._is_patched():
            return True

        by_operation = self._found().by_operation
        handlers = by_operation.get(operation_name)

        if handlers is None:
            handlers = by_operation[operation_name] = self._find(operation_name)

        return bool(handlers) and any(map(_is_active, handlers))

    def _is_patched(self) -> bool:
        """Whether anything takes the place of what botocore calls."""
        if not _are_as_they_come() and not all(map(is_stock, map(getattr, _OWNERS, _NAMES))):
            return True

        endpoint, http_session = self._endpoint, self._http_session
        return (
            self._client._endpoint is not endpoint
            or endpoint.http_session is not http_session
            or "make_request" in endpoint.__dict__
            or "send" in http_session.__dict__
        )

    def _found(self) -> _Found:
        if len(botocore.handlers.BUILTIN_HANDLERS) != self._builtin_handlers:
            self.add_builtin_handlers()

        # botocore replaces this cache whenever a handler is registered or unregistered, so its
        # identity says whether what was found is still true.
        version = self._emitter._lookup_cache

        if self._handlers.version is not version:
            self._handlers = _Found(version)

        return self._handlers

    def add_builtin_handlers(self) -> None:
        """Register what others have added to botocore's own handlers since the client was created.

        botocore gives them to each new client. moto adds its own when a mock is first started,
        which would have no effect on an app whose client exists already.
        """
        builtin: list[t.Any] = botocore.handlers.BUILTIN_HANDLERS

        if len(builtin) == self._builtin_handlers:
            return

        self._builtin_handlers = len(builtin)

        for event, handler, *_ in list(builtin):
            if not _is_of_botocore(
                handler
            ) and handler not in self._emitter._handlers.prefix_search(event):
                self._client.meta.events.register(event, handler)

    def _find(self, operation_name: str) -> list[Handler]:
        found: list[Handler] = []

        for event in _EVENTS:
            name = f"{event}.{_SERVICE}.{operation_name}"
            at_first = list(self._at_first._handlers.prefix_search(name))
            now = list(self._emitter._handlers.prefix_search(name))
            found += [h for h in now if h not in at_first or not _is_of_botocore(h)]
            found += [h for h in at_first if h not in now and _is_of_botocore(h)]

        return found


def _is_of_botocore(handler: t.Any) -> bool:
    """Whether a handler is botocore's or this project's, and no stub."""
    module = _module(handler)
    return _package(module) in _STOCK and module != botocore.stub.__name__


def _module(handler: t.Any) -> str:
    """Where a handler is defined; of a method, its object's class."""
    if isinstance(handler, functools.partial):
        return _module(handler.func)

    if isinstance(handler, types.MethodType):
        return type(handler.__self__).__module__

    if type(handler) is types.FunctionType:
        return str(handler.__globals__.get("__name__"))

    return type(handler).__module__


def _is_active(handler: t.Any) -> bool:
    """moto leaves its handler where it is, and switches it on and off."""
    return _package(_module(handler)) != _MOTO or bool(getattr(handler, "enabled", True))
