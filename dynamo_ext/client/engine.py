"""One endpoint: a botocore client and a pool of slots, shared by whatever talks to it."""

from __future__ import annotations

import collections.abc as cabc
import os
import threading
import types
import typing as t
import weakref

import botocore.client
import botocore.config
import botocore.session

from ..calls import deadline
from ..calls import retry
from ..calls.pool import Pool
from ..config.settings import DIRECT
from ..config.settings import LOCAL
from ..transport import exchange
from ..transport import parser
from ..transport import sigv4
from ..transport.user_agent import UserAgent
from .endpoint import Endpoint

if t.TYPE_CHECKING:
    from ..transport.direct import client

_SERVICE = "dynamodb"
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """The client and the slots of one endpoint, in one process.

    The client is made at first use, once, however many threads ask for it.

    :param endpoint: Where it leads.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.reset()
        _engines.add(self)

        if endpoint.host == LOCAL:
            _local().start()

    def reset(self) -> None:
        """Forget client, slots and locks, as a forked child must."""
        self.pool: Pool = Pool(self.endpoint.max_pool_connections)
        # Reentrant: a handler of a signal, or of a log record, may make a call meanwhile.
        self._lock = threading.RLock()
        self._session: botocore.session.Session | None = None
        self._client: botocore.client.BaseClient | None = None
        self._client_is_lasting = False
        self._wire: client.Wire | None = None
        self._close_client: cabc.Callable[[], t.Any] = _nothing_to_close

    def __repr__(self) -> str:
        return f"<Engine {self.endpoint!r}>"

    @property
    def client(self) -> botocore.client.BaseClient:
        """The botocore client.

        A client that was made while there were no credentials would never have any, so it is
        replaced as soon as they appear; so is one of an embedded engine that has died.
        """
        if (client := self._client) is not None and self._client_is_lasting:
            return client

        with self._lock:
            if self._client is None or self._is_outdated(self._client):
                client = self._make_client()
                # Only now: a handler of a signal may have made one meanwhile.
                self._close_client()
                self._client = client
                self._close_client = weakref.finalize(self, client.close)
                # Last: another thread that sees it takes the client without the lock.
                self._client_is_lasting = self._has_credentials() and self.endpoint.host != LOCAL

            return self._client

    @property
    def says_when_it_waits(self) -> bool:
        """Whether a call would wait only by the means of :mod:`dynamo_ext.concurrency.waiting`."""
        return self._client_is_lasting and self._wire is not None and self._wire.is_ready

    @property
    def is_of_this_process(self) -> bool:
        """Whether it leads to an embedded engine that ends with this process."""
        return self.endpoint.host == LOCAL and bool(_local().ends_with_this_process())

    def close(self) -> None:
        """Close the idle connections. The next call makes a new client."""
        with self._lock:
            self._close_client()
            self._client = self._wire = None

    @property
    def session(self) -> botocore.session.Session:
        """The botocore session that the client is made from."""
        with self._lock:
            return self._get_session()

    def _is_outdated(self, client: botocore.client.BaseClient) -> bool:
        if self.endpoint.host == LOCAL:
            return bool(client.meta.endpoint_url != self._url())

        return not self._client_is_lasting and self._has_credentials()

    def _has_credentials(self) -> bool:
        return self._get_session().get_credentials() is not None

    def _url(self) -> str | None:
        return _local().endpoint() if self.endpoint.host == LOCAL else self.endpoint.host

    def _get_session(self) -> botocore.session.Session:
        if self._session is None:
            self._session = self._make_session()

        return self._session

    def _make_session(self) -> botocore.session.Session:
        endpoint, session = self.endpoint, botocore.session.get_session()
        session.register_component("response_parser_factory", parser.ParserFactory())
        session.register_component("user_agent_creator", UserAgent.from_environment())

        if endpoint.aws_access_key_id and endpoint.aws_secret_access_key:
            session.set_credentials(
                endpoint.aws_access_key_id,
                endpoint.aws_secret_access_key,
                endpoint.aws_session_token,
            )
        elif endpoint.host == LOCAL:
            session.set_credentials("local", "local")

        return session

    def _make_client(self) -> botocore.client.BaseClient:
        endpoint, session = self.endpoint, self._get_session()
        max_attempts = 1 + endpoint.max_retry_attempts
        client = session.create_client(
            _SERVICE,
            endpoint.region,
            endpoint_url=self._url(),
            config=botocore.config.Config(
                # PynamoDB has checked what it sends.
                parameter_validation=False,
                connect_timeout=endpoint.connect_timeout_seconds,
                read_timeout=endpoint.read_timeout_seconds,
                max_pool_connections=endpoint.max_pool_connections,
                retries={"mode": "standard", "total_max_attempts": max_attempts},
                # No proxy of the environment leads to the embedded engine.
                proxies={} if endpoint.host == LOCAL else None,
            ),
        )
        retries = retry.install(client, max_attempts=max_attempts, base_ms=endpoint.base_backoff_ms)
        deadline.install(client)
        sigv4.install(client)
        exchange.install(client)
        extra_headers = dict(endpoint.extra_headers)

        if extra_headers:
            add_headers = _AddHeaders(extra_headers)
            client.meta.events.register_first(f"before-send.{_SERVICE}", add_headers)

        if endpoint.transport == DIRECT:
            self._wire = _direct().Wire(
                client,
                retries,
                read_timeout_seconds=endpoint.read_timeout_seconds,
                max_attempts=max_attempts,
                extra_headers=extra_headers,
            )

        return client


class _AddHeaders:
    """Adds headers to a request that is signed already."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: t.Any, **event: t.Any) -> None:
        request.headers.update(self._headers)


def _local() -> types.ModuleType:
    """The embedded engine's module, which most apps never need."""
    from ..local import launcher

    return launcher


def _direct() -> types.ModuleType:
    """The direct transport's module, for which an extra has to be installed."""
    from ..transport.direct import client

    return client


def _nothing_to_close() -> None:
    pass


def _after_fork_in_child() -> None:
    # Locks may be held, and slots taken, by threads that the child does not have; sockets are the
    # parent's.
    for engine in list(_engines):
        engine.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
