"""In a test, no request may leave the machine unless the test is marked ``dynamodb_remote``.

A test suite whose app was given the wrong settings must not write to real tables. The plugin for
pytest sets an environment variable, so that the processes that a test starts obey it, too. Where
the variable is not set, nothing is checked.

What a test has mocked is sent by nobody, and so not checked either.
"""

from __future__ import annotations

import collections.abc as cabc
import ipaddress
import os
import socket
import urllib.parse

VARIABLE = "_DYNAMO_EXT_ENDPOINTS"
"""The environment variable. Its value is one of the two that follow."""

LOOPBACK = "loopback"
ANY = "any"

_NAME = "localhost"


def check_in_tests() -> cabc.Callable[[str], None] | None:
    """What checks the URL of each request, in a process that runs tests; else ``None``."""
    return check if VARIABLE in os.environ else None


def check(url: str) -> None:
    """Refuse an endpoint beyond the loopback interface, if the current test must not use one.

    :param url: Where a request is to go.
    :raises RuntimeError: if the test must not send it.
    """
    if os.environ.get(VARIABLE) == LOOPBACK:
        check_host(urllib.parse.urlsplit(url).hostname or "")


def check_host(host: str) -> None:
    """Refuse a host as :func:`check` does.

    :param host: A name or an IP address, without brackets.
    :raises RuntimeError: if the test must not send requests to it.
    """
    if os.environ.get(VARIABLE) == LOOPBACK and not is_loopback(host):
        raise RuntimeError(
            f"A test must not send requests to {host!r}, which is not on this machine. Give the app"
            " the settings of the fixture: create_app(dynamodb.config). To let this test use a"
            " remote endpoint, mark it with @pytest.mark.dynamodb_remote."
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its address or by what its name stands for.

    :param host: A name or an IP address, without brackets.
    """
    if _is_address(host):
        return _is_own_address(host)

    return is_named_loopback(host) or _resolves_to_loopback(host)


def is_named_loopback(host: str) -> bool:
    """Whether a host is of the loopback interface, by its address or its name alone. DNS is not
    asked, and an unspecified address is none.

    :param host: A name or an IP address, without brackets.
    """
    if _is_address(host):
        return _plain_address(host).is_loopback

    name = host.lower().rstrip(".")
    return name == _NAME or name.endswith(f".{_NAME}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False

    return True


def _resolves_to_loopback(name: str) -> bool:
    """Whether a name stands for nothing but this machine here, as ``/etc/hosts`` may say."""
    try:
        found = socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return False

    addresses = {str(each[-1][0]) for each in found}
    return bool(addresses) and all(map(_is_own_address, addresses))


def _is_own_address(text: str) -> bool:
    address = _plain_address(text)
    # An unspecified address as a destination is this machine, too.
    return address.is_loopback or address.is_unspecified


def _plain_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without its zone, and the IPv4 address that it may stand for."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
