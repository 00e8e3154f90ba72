"""Engines: one botocore client and one pool of slots for each distinct endpoint."""

from __future__ import annotations

import collections.abc as cabc
import functools
import os
import pathlib
import threading
import typing as t
import weakref

import botocore.client
import botocore.config
import botocore.session

from ..calls import deadline
from ..calls import retry
from ..calls.pool import Pool
from ..calls.retry import Retry
from ..concurrency.process_local import ProcessLocal
from ..config import local_file
from ..config.settings import AUTO
from ..config.settings import BOTOCORE
from ..config.settings import DIRECT
from ..config.settings import Transport as TransportName
from ..transport import installation
from ..transport import parser
from ..transport import sigv4
from ..transport.by_botocore import BotocoreTransport
from ..transport.hooks import Hooks
from ..transport.protocol import Transport
from ..transport.user_agent import UserAgent
from .endpoint import Endpoint
from .loader import shared_loader
from .session import Session

if t.TYPE_CHECKING:
    from ..transport.direct.client import DirectTransport

_SERVICE = "dynamodb"

# By their identities.
_engines: weakref.WeakValueDictionary[int, Engine] = weakref.WeakValueDictionary()


def engines() -> list[Engine]:
    """All engines that are in use in this process."""
    # A list made in one step: other threads may create engines meanwhile.
    references = _engines.valuerefs()
    return [engine for reference in references if (engine := reference()) is not None]


class Embedded(t.Protocol):
    """An embedded engine, as its launcher gives it."""

    def start(self) -> None:
        """Start it, without waiting until it answers."""
        ...

    def endpoint(self) -> str:
        """Its address, once it answers. It is started if needed."""
        ...

    def ends_with_this_process(self) -> bool:
        """Whether its tables are gone when this process ends."""
        ...


class Engine:
    """The client and the slots of one endpoint, in each process that uses it.

    The client is created at first use, once, however many threads ask for it.

    :param endpoint: The endpoint.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._mine = ProcessLocal(
            functools.partial(_InProcess, endpoint), abandon=_InProcess.abandon
        )

        _engines[id(self)] = self

        if (embedded := self._mine.get().embedded) is not None:
            embedded.start()

    def __repr__(self) -> str:
        return f"<Engine {self.endpoint!r}>"

    @property
    def here(self) -> _InProcess:
        """What this process has of it: who needs several of the properties asks for this once."""
        return self._mine.get()

    @property
    def pool(self) -> Pool:
        """The slots."""
        return self._mine.get().pool

    @property
    def client(self) -> botocore.client.BaseClient:
        """The botocore client.

        A client that was created while there were no credentials would never get any, so it is
        replaced as soon as they appear. So is the client of an embedded engine that has died.
        """
        return self._mine.get().client

    @property
    def region(self) -> str:
        """The region."""
        return self.endpoint.region

    @property
    def url(self) -> str | None:
        """The server's address; ``None`` if that is not known before the first call."""
        return self._mine.get().url

    @property
    def waits_cooperatively(self) -> bool:
        """Whether a call made now would wait only by :mod:`dynamo_ext.concurrency.waiting`, and the
        app wants its thread to make other calls meanwhile: only if it asks for ``direct``."""
        return self._mine.get().waits_cooperatively

    @property
    def transport(self) -> Transport | None:
        """What sends the calls of the client; ``None`` as long as there is no client."""
        return self._mine.get().transport

    @property
    def transport_in_use(self) -> str:
        """The transport by which calls go: ``"botocore"`` or ``"direct"``."""
        return BOTOCORE if _direct(self.endpoint.transport) is None else DIRECT

    @property
    def is_of_this_process(self) -> bool:
        """Whether the tables are in an embedded engine that ends with this process."""
        embedded = self._mine.get().embedded
        return embedded is not None and embedded.ends_with_this_process()

    def close(self) -> None:
        """Close the idle connections. The next call creates a new client."""
        self._mine.get().close()

    @property
    def session(self) -> botocore.session.Session:
        """The botocore session that creates the client."""
        return self._mine.get().session


class _InProcess:
    """What one process has of an engine. Its docstrings are those of :class:`Engine`.

    :param endpoint: The endpoint.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.pool: Pool = Pool(endpoint.max_pool_connections)
        # Reentrant: a handler of a signal, or of a log record, may make a call meanwhile.
        self._lock = threading.RLock()
        self.embedded: Embedded | None = _embedded(endpoint.host)
        self._session: botocore.session.Session | None = None
        self._client: botocore.client.BaseClient | None = None
        self._client_is_lasting = False
        self.transport: Transport | None = None
        self._close_client: cabc.Callable[[], t.Any] = _nothing_to_close

    def abandon(self) -> None:
        """Close the sockets of the parent, in a forked child."""
        if self.transport is not None:
            self.transport.abandon()

    @property
    def client(self) -> botocore.client.BaseClient:
        if (client := self._client) is not None and self._client_is_lasting:
            return client

        with self._lock:
            if self._client is None or self._is_outdated(self._client):
                client = self._make_client()
                # Only now: a signal handler may have created one meanwhile.
                self._close_client()
                self._client = client
                self._close_client = weakref.finalize(self, _close_in_process, os.getpid(), client)
                # Last: a thread that sees this flag takes the client without the lock.
                self._client_is_lasting = self._has_credentials() and self.embedded is None

            return self._client

    @property
    def url(self) -> str | None:
        if (client := self._client) is not None:
            return client.meta.endpoint_url

        return self.endpoint.host if self.embedded is None else None

    @property
    def waits_cooperatively(self) -> bool:
        transport = self.transport
        return (
            self._client_is_lasting
            and self.endpoint.transport == DIRECT
            and transport is not None
            and transport.waits_cooperatively
        )

    def close(self) -> None:
        with self._lock:
            self._close_client()
            self._client = self.transport = None

    @property
    def session(self) -> botocore.session.Session:
        with self._lock:
            return self._get_session()

    def _is_outdated(self, client: botocore.client.BaseClient) -> bool:
        if self.embedded is not None:
            return bool(client.meta.endpoint_url != self._url())

        return not self._client_is_lasting and self._has_credentials()

    def _has_credentials(self) -> bool:
        return self._get_session().get_credentials() is not None

    def _url(self) -> str | None:
        return self.endpoint.host if self.embedded is None else self.embedded.endpoint()

    def _get_session(self) -> botocore.session.Session:
        if self._session is None:
            self._session = self._make_session()

        return self._session

    def _make_session(self) -> botocore.session.Session:
        endpoint, session = self.endpoint, Session()
        loader = shared_loader(session.get_config_variable("data_path"))
        session.register_component("data_loader", loader)
        session.register_component("response_parser_factory", parser.ParserFactory())
        session.register_component("user_agent_creator", UserAgent.from_environment())
        installation.prepare(session)

        if endpoint.aws_access_key_id and endpoint.aws_secret_access_key:
            session.set_credentials(
                endpoint.aws_access_key_id,
                endpoint.aws_secret_access_key,
                endpoint.aws_session_token,
            )
        elif self.embedded is not None:
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
                # PynamoDB has checked the parameters.
                parameter_validation=False,
                connect_timeout=endpoint.connect_timeout_seconds,
                read_timeout=endpoint.read_timeout_seconds,
                max_pool_connections=endpoint.max_pool_connections,
                retries={"mode": "standard", "total_max_attempts": max_attempts},
                # A proxy from the environment can't reach the embedded engine.
                proxies=None if self.embedded is None else {},
            ),
        )
        retries = retry.install(client, max_attempts=max_attempts, base_ms=endpoint.base_backoff_ms)
        deadline.install(client)
        sigv4.install(client)

        if endpoint.extra_headers:
            add_headers = _AddHeaders(dict(endpoint.extra_headers))
            client.meta.events.register_first(f"before-send.{_SERVICE}", add_headers)

        self.transport = self._make_transport(client, retries, Hooks(client))
        installation.install(client, self.transport)
        return client

    def _make_transport(
        self, client: botocore.client.BaseClient, retries: Retry, hooks: Hooks
    ) -> Transport:
        endpoint = self.endpoint
        transport = _direct(endpoint.transport) or BotocoreTransport
        return transport(
            client,
            retries,
            hooks,
            read_timeout_seconds=endpoint.read_timeout_seconds,
            max_attempts=1 + endpoint.max_retry_attempts,
            extra_headers=dict(endpoint.extra_headers),
        )


class _AddHeaders:
    """Adds headers to a request after it was signed."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: t.Any, **event: t.Any) -> None:
        request.headers.update(self._headers)


def _embedded(host: str | None) -> Embedded | None:
    """The embedded engine that a host names; ``None`` if it names none.

    Most apps never import what starts one.

    :raises ConfigError: if the host names a file that cannot be used.
    """
    if not local_file.is_embedded(host):
        return None

    from ..local import launcher
    from ..local import sharing

    path = local_file.path_of(host)
    return launcher if path is None else sharing.engine(pathlib.Path(path))


def _direct(wanted: TransportName) -> type[DirectTransport] | None:
    """The class of the transport ``direct``; ``None`` if botocore is to be used.

    :param wanted: What the app's setting says.
    :raises ImportError: if it says ``direct``, and what that needs can't be imported. In a second
        interpreter of a process, this may be so though the extra is installed.
    """
    if wanted not in {AUTO, DIRECT}:
        return None

    try:
        from ..transport.direct.client import DirectTransport
    except ImportError:
        if wanted == DIRECT:
            raise

        return None

    return DirectTransport


def _nothing_to_close() -> None:
    pass


def _close_in_process(process: int, client: botocore.client.BaseClient) -> None:
    """Close a client, unless this is a forked child of the process that has created it: a thread of
    that process may hold a lock of the client's."""
    if process == os.getpid():
        client.close()
