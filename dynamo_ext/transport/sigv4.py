"""Signature Version 4, with the signing key of the day kept.

botocore derives the key from the secret for each request, and walks the headers several times. The
signature here is the same, to the byte. botocore signs whatever is not an ordinary request.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import functools
import hashlib
import hmac
import logging
import time
import typing as t

import botocore.auth
import botocore.client
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED_HEADERS = frozenset(botocore.auth.SIGNED_HEADERS_BLACKLIST)
# Of HMAC-SHA256: https://www.rfc-editor.org/rfc/rfc2104#section-2.
_BLOCK_SIZE = 64
_INNER_PAD = 0x36
_OUTER_PAD = 0x5C
# With one of these, a request is signed in another way.
_UNUSUAL_HEADERS = frozenset({"authorization", "date", "x-amz-content-sha256"})
_botocore_logger = logging.getLogger(botocore.auth.__name__)


@functools.lru_cache(maxsize=32)
def signing_key(secret_access_key: str, date: str, region: str, service: str) -> bytes:
    """The key that signs requests for one service, in one region, on one day.

    The latest ones are kept.

    :param secret_access_key: The secret of the credentials.
    :param date: The day in UTC, as ``YYYYMMDD``.
    :param region: The name of the region.
    :param service: The name under which the service is signed for.
    """
    key = f"AWS4{secret_access_key}".encode()

    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")

    return key


class _Hash(t.Protocol):
    """What :mod:`hashlib` makes: its own class has only a private name."""

    def copy(self) -> t.Self: ...

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...


class Signing:
    """Signs requests that differ in their bodies alone, and were made in the same second.

    See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.

    :param credentials: Frozen credentials.
    :param service: The name under which the service is signed for.
    :param region: The name of the region.
    :param timestamp: The time, as ``YYYYMMDDTHHMMSSZ``.
    :param signed_names: The names of the signed headers, with ``;`` between them.
    :param request: The canonical request, up to the digest of the body.
    """

    __slots__ = ("_inner", "_outer", "_request", "_start")

    def __init__(
        self,
        credentials: t.Any,
        *,
        service: str,
        region: str,
        timestamp: str,
        signed_names: str,
        request: str,
    ) -> None:
        inner, self._outer, scope, self._start = _of_day(
            credentials.access_key,
            credentials.secret_key,
            timestamp[:8],
            region,
            service,
            signed_names,
        )
        self._inner = inner.copy()
        self._inner.update(f"{ALGORITHM}\n{timestamp}\n{scope}\n".encode())
        self._request = hashlib.sha256(request.encode())

    def authorization(self, body: bytes) -> str:
        """The value of the header ``Authorization``.

        :param body: The body of the request.
        """
        request = self._request.copy()
        request.update(hashlib.sha256(body).hexdigest().encode())
        inner = self._inner.copy()
        inner.update(request.hexdigest().encode())
        signature = self._outer.copy()
        signature.update(inner.digest())
        return f"{self._start}{signature.hexdigest()}"


@functools.lru_cache(maxsize=64)
def _of_day(
    access_key: str, secret_key: str, date: str, region: str, service: str, signed_names: str
) -> tuple[_Hash, _Hash, str, str]:
    """What is the same in all signatures of one day: the two hashes that the key begins, the scope,
    and what comes before the signature itself."""
    key = signing_key(secret_key, date, region, service)
    scope = f"{date}/{region}/{service}/aws4_request"
    start = f"{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={signed_names}, Signature="
    return _begun(key, _INNER_PAD), _begun(key, _OUTER_PAD), scope, start


def _begun(key: bytes, pad: int) -> _Hash:
    """One of the two hashes of HMAC-SHA256, after the key: it is the same for all texts, and may be
    kept. See https://www.rfc-editor.org/rfc/rfc2104#section-4.

    :param key: The key, which is no longer than a block.
    :param pad: The byte that the hash combines with each byte of the key.
    """
    return hashlib.sha256(bytes(byte ^ pad for byte in key.ljust(_BLOCK_SIZE, b"\0")))


def install(client: botocore.client.BaseClient) -> None:
    """Make a client sign its ordinary requests by :class:`Signer`.

    botocore's request signer stays, with its events, and chooses the class that signs a request;
    only its class for version 4 is replaced by ours.

    :param client: The client.
    """
    signer = t.cast(t.Any, client)._request_signer
    signer.get_auth_instance = functools.partial(_auth, signer.get_auth_instance)


def _auth(
    choose: cabc.Callable[..., t.Any],
    signing_name: str,
    region_name: str,
    *args: t.Any,
    **more: t.Any,
) -> t.Any:
    auth = choose(signing_name, region_name, *args, **more)

    if auth.__class__ is SigV4Auth:
        return Signer(auth.credentials, signing_name, region_name)

    return auth


class Signer(SigV4Auth):
    """Signs a request as botocore does.

    :param credentials: Frozen credentials.
    :param service_name: The name under which the service is signed for.
    :param region_name: The name of the region.
    """

    def __init__(self, credentials: t.Any, service_name: str, region_name: str) -> None:
        super().__init__(credentials, service_name, region_name)
        self._service = service_name
        self._region = region_name

    def add_auth(self, request: AWSRequest) -> None:
        """Sign a request.

        :param request: Its headers are changed in place.
        """
        if not self._sign_ordinary(t.cast(t.Any, request)):
            super().add_auth(request)

    def _sign_ordinary(self, request: t.Any) -> bool:
        """Sign a request, unless there is anything unusual about it.

        :return: Whether it is signed now.
        """
        credentials: t.Any = self.credentials

        if credentials is None or not _is_ordinary(request):
            return False

        headers = _headers_to_sign(request)

        if headers is None:
            return False

        timestamp = time.strftime(botocore.auth.SIGV4_TIMESTAMP, time.gmtime())
        added = {"X-Amz-Date": timestamp}

        if credentials.token:
            added["X-Amz-Security-Token"] = credentials.token

        for name, value in added.items():
            headers[name.lower()] = _trimmed(value)
            del request.headers[name]
            request.headers[name] = value

        request.context["timestamp"] = timestamp
        request.headers["Authorization"] = self._authorization(request, headers, timestamp)
        return True

    def _authorization(self, request: t.Any, headers: dict[str, str], timestamp: str) -> str:
        names = sorted(headers)
        signed_names = ";".join(names)
        lines = [
            request.method.upper(),
            _signed_url(request.url).path,
            "",
            *[f"{name}:{headers[name]}" for name in names],
            "",
            signed_names,
            "",
        ]
        signing = Signing(
            self.credentials,
            service=self._service,
            region=self._region,
            timestamp=timestamp,
            signed_names=signed_names,
            request="\n".join(lines),
        )
        return signing.authorization(request.data)


@dataclasses.dataclass(frozen=True)
class _SignedURL:
    """The parts of a URL that are signed."""

    host: str
    path: str
    query: str


@functools.lru_cache(maxsize=64)
def _signed_url(url: str) -> _SignedURL:
    request = t.cast(t.Any, AWSRequest)(method="POST", url=url, data=b"")
    canonical: str = t.cast(t.Any, SigV4Auth)(None, "", "").canonical_request(request)
    _, path, query, host, *_ = canonical.split("\n")
    return _SignedURL(host.removeprefix("host:"), path, query)


def _is_ordinary(request: t.Any) -> bool:
    context = request.context
    return (
        type(request.data) is bytes
        and not request.params
        and not _signed_url(request.url).query
        and context.get("payload_signing_enabled", True)
        and not context.get("checksum")
        and not _botocore_logger.isEnabledFor(logging.DEBUG)
    )


def _headers_to_sign(request: t.Any) -> dict[str, str] | None:
    """The names and values as they are signed; ``None`` if botocore has to sign them."""
    headers: dict[str, str] = {}

    for name, value in request.headers.items():
        name = name.lower()

        if name in _UNSIGNED_HEADERS:
            continue

        if (
            name in headers
            or name in _UNUSUAL_HEADERS
            or name != name.strip()
            or type(value) is not str
        ):
            return None

        headers[name] = _trimmed(value)

    headers.setdefault("host", _signed_url(request.url).host)
    return headers


def _trimmed(value: str) -> str:
    return " ".join(value.split())
