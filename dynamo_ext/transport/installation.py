"""The one way in which a transport is installed, and the way past it.

Every call of a botocore client, whether PynamoDB makes it or the app does, passes the client's
``_make_api_call``. By the event ``creating-client-class``, botocore lets a base class be added to
the client classes that it creates: ours hands each call to the client's transport. See
https://docs.aws.amazon.com/boto3/latest/guide/events.html.
"""

from __future__ import annotations

import threading
import typing as t

import botocore.awsrequest
import botocore.client
import botocore.session

from . import loopback
from .hooks import is_stock
from .protocol import Params
from .protocol import Parsed
from .protocol import Transport

_EVENT = "creating-client-class.dynamodb"
_FIRST_FINAL_STATUS = 200


def send_by_botocore(
    client: botocore.client.BaseClient, operation_name: str, params: Params
) -> Parsed:
    """Send one call by botocore as it is: events, endpoint, signature, HTTP session, retries.

    :param client: A botocore client.
    :param operation_name: DynamoDB's name of the operation.
    :param params: The operation's parameters.
    :return: The parsed reply.
    """
    # Looked up at each call: tools that trace or mock replace it on the class.
    send: t.Any = t.cast(t.Any, botocore.client.BaseClient)._make_api_call
    parsed: Parsed = send(client, operation_name, params)
    return parsed


class _ClientWithTransport(botocore.client.BaseClient):
    """What botocore adds to the client classes of a session that :func:`prepare` has seen."""

    # None for a client that the app creates from the same session.
    dynamo_ext_transport: Transport | None = None

    def _make_api_call(self, operation_name: str, api_params: Params) -> Parsed:
        if self.dynamo_ext_transport is not None:
            return self.dynamo_ext_transport.send(operation_name, api_params)

        return send_by_botocore(self, operation_name, api_params)

    def close(self) -> None:
        """Close the idle connections, those of the transport too."""
        if self.dynamo_ext_transport is not None:
            self.dynamo_ext_transport.close()

        super().close()


def prepare(session: botocore.session.Session) -> None:
    """Let the DynamoDB clients of a session have a transport.

    :param session: A botocore session that has created no DynamoDB client yet.
    """
    session.register(_EVENT, t.cast(t.Any, _add_base_class))


def install(client: botocore.client.BaseClient, transport: Transport) -> None:
    """Make a client send its calls by a transport.

    :param client: A client of a session that was given to :func:`prepare`.
    :param transport: The transport.
    """
    t.cast(_ClientWithTransport, client).dynamo_ext_transport = transport
    _replace_pools(client)


def abandon_connections(client: botocore.client.BaseClient) -> None:
    """Close, in a forked child, the connections of urllib3 that were idle in its parent. As
    :meth:`Transport.abandon`.

    :param client: A botocore client.
    """
    session: t.Any = t.cast(t.Any, client)._endpoint.http_session

    for manager in (session._manager, *session._proxy_managers.values()):
        _abandon_pools(manager.pools)


def _abandon_pools(pools: t.Any) -> None:
    """Close the idle connections in urllib3's pools without their locks, which are replaced:
    urllib3 takes them once more when a pool is garbage, or at the end of the process."""
    pools.lock = threading.RLock()

    for key in pools.keys():  # noqa: SIM118 - it is no mapping that can be iterated over
        idle = pools.get(key).pool

        if idle is None:
            continue

        opened = [connection for connection in list(idle.queue) if connection is not None]
        idle.__init__(idle.maxsize)

        for connection in opened:
            connection.close()


class _NoInterimReplies:
    """Closes a connection whose reply is an interim one (1xx).

    ``http.client`` takes it for the final one. The final one, which follows, would be the answer to
    whatever is sent next on that connection. The call itself fails: its reply has no content.
    """

    def urlopen(self, *args: t.Any, **options: t.Any) -> t.Any:
        response: t.Any = t.cast(t.Any, super()).urlopen(*args, **options)

        if response.status < _FIRST_FINAL_STATUS and response.connection is not None:
            # It goes back to its pool when the reply is read, and is opened again then.
            response.connection.close()

        return response


class _HTTPPool(_NoInterimReplies, botocore.awsrequest.AWSHTTPConnectionPool): ...


class _HTTPSPool(_NoInterimReplies, botocore.awsrequest.AWSHTTPSConnectionPool): ...


class _OnlyWhereTestsMay:
    """Checks, in a process that runs tests, the URL of each request that botocore sends."""

    def urlopen(self, *args: t.Any, **options: t.Any) -> t.Any:
        pool = t.cast(t.Any, self)
        url: str = options["url"] if "url" in options else args[1]

        # A tool that plays recorded replies puts a class of its own there, and sends nothing.
        if is_stock(pool.ConnectionCls):
            if "://" in url:
                # A proxy passes the request on: the pool is that of the proxy.
                loopback.check(url)
            else:
                loopback.check_host(pool.host.strip("[]"))

        return t.cast(t.Any, super()).urlopen(*args, **options)


class _HTTPPoolInTests(_OnlyWhereTestsMay, _HTTPPool): ...


class _HTTPSPoolInTests(_OnlyWhereTestsMay, _HTTPSPool): ...


def _replace_pools(client: t.Any) -> None:
    """Make botocore's HTTP session use the pools of this module."""
    in_tests = loopback.check_in_tests() is not None
    # The dictionary is that of all managers of pools, also of those for proxies.
    client._endpoint.http_session._pool_classes_by_scheme.update(
        http=_HTTPPoolInTests if in_tests else _HTTPPool,
        https=_HTTPSPoolInTests if in_tests else _HTTPSPool,
    )


def _add_base_class(base_classes: list[type], **event: t.Any) -> None:
    base_classes.insert(0, _ClientWithTransport)
