"""Opening connections: by urllib3, with the settings of a botocore session."""

from __future__ import annotations

import os
import socket
import ssl
import typing as t

import botocore.exceptions
import urllib3
import urllib3.connection
from botocore import httpsession
from urllib3.util.proxy import connection_requires_http_tunnel

from .connections import HTTP11Connection

# An experiment of botocore's, by which it changes what is sent to a proxy.
_PROXY_HOST_HEADER = "BOTO_EXPERIMENTAL__ADD_PROXY_HOST_HEADER"
_urllib3: t.Any = urllib3.connection
_ERRORS: tuple[tuple[t.Any, t.Any], ...] = (
    (
        (urllib3.exceptions.NewConnectionError, socket.gaierror),
        botocore.exceptions.EndpointConnectionError,
    ),
    (urllib3.exceptions.ConnectTimeoutError, botocore.exceptions.ConnectTimeoutError),
    # During the handshake of TLS.
    (TimeoutError, botocore.exceptions.ReadTimeoutError),
    (
        (ssl.SSLError, _urllib3.CertificateError, urllib3.exceptions.SSLError),
        botocore.exceptions.SSLError,
    ),
    (OSError, botocore.exceptions.ConnectionClosedError),
)
"""What may be raised when a connection is opened, and what botocore makes of it."""


def open_connection(session: t.Any, url: str) -> HTTP11Connection | None:
    """Open a connection.

    Names, proxies, certificates, timeouts and errors are those of botocore.

    :param session: The HTTP session of a botocore client.
    :param url: Where requests are to go.
    :return: The connection; ``None`` if botocore must send requests to this URL: through a proxy
        that passes them on, which wants another request line, or by TLS inside of TLS.
    :raises botocore.exceptions.BotoCoreError: if no connection can be opened.
    """
    proxy_url = session._proxy_config.proxy_url_for(url)
    is_forwarded = session._get_request_target(url, proxy_url) != session._path_url(url)

    if is_forwarded or (proxy_url and os.environ.get(_PROXY_HOST_HEADER)):
        return None

    pool = session._get_connection_manager(url, proxy_url).connection_from_url(url)
    session._setup_ssl_cert(pool, url, session._verify)
    opened = pool._new_conn()
    opened.timeout = session._timeout.clone().connect_timeout

    try:
        _connect(pool, opened)
    except BaseException as error:
        has_proxy = proxy_url is None or getattr(opened, "has_connected_to_proxy", False)
        opened.close()

        if not isinstance(error, Exception):
            raise

        raise _as_of_botocore(error, url, None if has_proxy else proxy_url) from error

    if type(opened.sock) in {socket.socket, ssl.SSLSocket}:
        return HTTP11Connection(opened, opened.sock)

    opened.close()
    return None


def _connect(pool: t.Any, opened: t.Any) -> None:
    if connection_requires_http_tunnel(pool.proxy, pool.proxy_config, pool.scheme):
        pool._prepare_proxy(opened)
    else:
        opened.connect()


def _as_of_botocore(error: Exception, url: str, failed_proxy_url: str | None) -> Exception:
    if failed_proxy_url is not None:
        masked = t.cast(t.Any, httpsession).mask_proxy_url(failed_proxy_url)
        return botocore.exceptions.ProxyConnectionError(proxy_url=masked, error=error)

    for raised, of_botocore in _ERRORS:
        if isinstance(error, raised):
            return t.cast(Exception, of_botocore(endpoint_url=url, error=error))

    return botocore.exceptions.HTTPClientError(error=error)
