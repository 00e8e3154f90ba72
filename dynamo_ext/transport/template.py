"""Templates: what is the same in all requests of one operation.

botocore builds and signs one request. It is kept, with gaps for what differs in each request: the
time, the signature, the number of the attempt. If filling the gaps does not give botocore's own
request again (another kind of signature, for example), there is no template for that operation.
"""

from __future__ import annotations

import base64
import collections.abc as cabc
import contextlib
import dataclasses
import json
import operator
import re
import typing as t
import urllib.parse
import uuid

from botocore.awsrequest import HeadersDict
from botocore.credentials import ReadOnlyCredentials

from .protocol import Params
from .sigv4 import ALGORITHM
from .sigv4 import Signing

try:
    from botocore import context as botocore_context
except ImportError:  # Older releases of botocore have no context.
    botocore_context = t.cast(t.Any, None)

_TIME = "x-amz-date"
_SIGNATURE = "authorization"
_INVOCATION = "amz-sdk-invocation-id"
_ATTEMPT = "amz-sdk-request"
_LENGTH = "content-length"
_ENCODED_IN_TRANSFER = "transfer-encoding"
_GAPS = (_TIME, _SIGNATURE, _INVOCATION, _ATTEMPT, _LENGTH)
_FORMATS = tuple(f"%({gap})s" for gap in _GAPS)
_ITEM_OPERATIONS = frozenset(
    {
        "BatchGetItem",
        "BatchWriteItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "TransactGetItems",
        "TransactWriteItems",
        "UpdateItem",
    }
)
_BINARY = re.compile(r'"B": (?:"([^"\\]*)")?')
_DEFAULT_PORTS = {"http": 80, "https": 443}

Encode = cabc.Callable[[Params], bytes | None]
Gaps = tuple[str, str, str, str, str]
"""What fills the gaps of a template, in this order: the time, the signature, the identifier of the
call, the number of the attempt, and the length."""


class Origin(t.NamedTuple):
    """Whom a connection is for: requests to another host must never go over it."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of a URL.

        :param url: The URL, of the scheme ``http`` or ``https``.
        """
        parts = urllib.parse.urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        return cls(parts.scheme, parts.hostname or "", port)


class Operation:
    """One operation of a client.

    :param client: A botocore client.
    :param name: DynamoDB's name of the operation.
    :param encode: What encodes the parameters of an operation with items. As :func:`as_json`.
    """

    def __init__(self, client: t.Any, name: str, encode: Encode | None = None) -> None:
        self.name = name
        self._encode: Encode = as_json if encode is None else encode
        self.model: t.Any = client.meta.service_model.operation_model(name)
        self._serializer = client._serializer
        self._has_items = name in _ITEM_OPERATIONS
        self._members = frozenset(self.model.input_shape.members)
        self._tokens: tuple[str, ...] = tuple(self.model.idempotent_members)

    def body(self, params: Params) -> bytes:
        """The body of a request, which says what botocore's would.

        :param params: The operation's parameters.
        """
        if self._tokens:
            missing = [token for token in self._tokens if token not in params]
            params = {**params, **{token: str(uuid.uuid4()) for token in missing}}

        if self._has_items and params.keys() <= self._members and (body := self._encode(params)):
            return body

        return t.cast(bytes, self._serializer.serialize_to_request(params, self.model)["body"])


class Request:
    """A request that can be sent.

    :param template: Its template.
    :param gaps: The values for the template's gaps.
    :param body: The body.
    """

    def __init__(self, template: Template, gaps: Gaps, body: bytes) -> None:
        self.template = template
        self.body = body
        self.more_headers: dict[str, str] = {}
        """Headers that this request has beside those of the template."""

        self._gaps = gaps

    @property
    def headers(self) -> dict[str, str]:
        """All headers but ``Host`` and ``Accept-Encoding``."""
        gaps = dict(zip(_GAPS, self._gaps, strict=True))
        filled = {name: value % gaps for name, value in self.template.headers.items()}
        return {**filled, **self.more_headers}

    def to_bytes(self) -> bytes:
        """The request in the form in which it is sent."""
        template = self.template
        # What stands for a gap there is a format, and its value is at the same place here.
        head: str = template.head % template.in_order(self._gaps)

        if self.more_headers:
            head += _lines(self.more_headers)

        return head.encode("latin-1") + b"\r\n" + self.body


class Template:
    """The requests of one operation, signed with one key.

    :param operation: The operation.
    :param url: The URL of the requests.
    :param headers: The headers of a request that botocore has built and signed.
    :param extra_headers: Added to each request after it was signed.
    :raises KeyError: if a header is missing that has a gap.
    :raises ValueError: if the request is not signed by Signature Version 4.
    """

    def __init__(
        self,
        operation: Operation,
        url: str,
        headers: cabc.Mapping[str, str],
        extra_headers: cabc.Mapping[str, str],
    ) -> None:
        self.operation = operation
        self.url = url
        self.origin: Origin = Origin.of(url)
        parts = urllib.parse.urlsplit(url)
        path, host = parts.path or "/", _host(parts)
        values = {name.lower(): value for name, value in headers.items()} | {"host": host}
        missing = [gap for gap in _GAPS if gap not in values]

        if missing:
            raise KeyError(*missing)

        merged = HeadersDict({name: _escaped(value) for name, value in headers.items()})
        merged.update(dict(zip(_GAPS, _FORMATS, strict=True)))
        merged.update({name: _escaped(value) for name, value in extra_headers.items()})
        self.headers: dict[str, str] = dict(merged.items())
        """By name. Each gap is a format for ``%`` with a dictionary."""

        of_http = {"Host": host, "Accept-Encoding": "identity"}
        start = {name: value for name, value in of_http.items() if name not in merged}
        # Where an extra header has the name of a gap, there is no gap.
        gaps = [_FORMATS.index(value) for value in self.headers.values() if value in _FORMATS]
        self.in_order: cabc.Callable[[Gaps], t.Any] = operator.itemgetter(*gaps)
        """The values of gaps, in the order in which :attr:`head` has them."""

        lines = {
            _escaped(name): "%s" if value in _FORMATS else value
            for name, value in self.headers.items()
        }
        self.head: str = f"POST {_escaped(path)} HTTP/1.1\r\n{_lines(start)}{_lines(lines)}"
        """The request line and the headers, with ``%s`` for each gap."""

        self.names_max_attempts: bool = "max=" in values[_ATTEMPT]
        """Whether botocore tells the server the highest number of attempts in the first one."""

        credential, signed = _authorization(values[_SIGNATURE])
        _, _, self._region, self._service, _ = credential.rsplit("/", 4)
        self._signed = ";".join(signed)
        to_sign = [f"{name}:{' '.join(values[name].split())}\n" for name in signed]
        at = signed.index(_TIME)
        self._before_time = f"POST\n{path}\n\n{''.join(to_sign[:at])}{_TIME}:"
        self._after_time = f"\n{''.join(to_sign[at + 1 :])}\n{self._signed}\n"
        self._latest: _Second | None = None

    def fill(
        self,
        credentials: ReadOnlyCredentials,
        *,
        time: str,
        invocation: str,
        attempt: str,
        body: bytes,
    ) -> Request:
        """Fill the gaps.

        :param credentials: The credentials to sign with.
        :param time: The time, as ``YYYYMMDDTHHMMSSZ``.
        :param invocation: The identifier that all attempts of a call share.
        :param attempt: What the header ``amz-sdk-request`` says of this attempt.
        :param body: The body.
        :return: The request.
        """
        second = self._latest

        if second is None or second.time != time or second.credentials != credentials:
            second = self._latest = self._begin_second(credentials, time)

        signature = second.signing.authorization(body)
        return Request(self, (time, signature, invocation, attempt, str(len(body))), body)

    def _begin_second(self, credentials: ReadOnlyCredentials, time: str) -> _Second:
        signing = Signing(
            credentials,
            service=self._service,
            region=self._region,
            timestamp=time,
            signed_names=self._signed,
            request=f"{self._before_time}{time}{self._after_time}",
        )
        return _Second(time, credentials, signing)


# Without a repr, which would show the secret.
@dataclasses.dataclass(slots=True, repr=False)
class _Second:
    """What is the same in all requests that are signed in one second."""

    time: str
    credentials: ReadOnlyCredentials
    signing: Signing


def build_request(client: t.Any, operation: Operation, params: Params) -> t.Any:
    """Have botocore build and sign a request, as in a call.

    :param client: A botocore client.
    :param operation: The operation.
    :param params: Parameters of a call of that operation.
    :return: botocore's request.
    """
    model, endpoint = operation.model, client._endpoint

    with _new_context():
        context = {
            "client_region": client.meta.region_name,
            "client_config": client.meta.config,
            "has_streaming_input": False,
            "auth_type": getattr(model, "resolved_auth_type", model.auth_type),
        }
        url, headers, properties = client._resolve_endpoint_ruleset(model, params, context)

        if properties:
            context["endpoint_properties"] = properties

        request = client._convert_to_request_dict(
            api_params=params,
            operation_model=model,
            endpoint_url=url,
            context=context,
            headers=headers,
        )
        endpoint._update_retries_context(context, 1)
        return endpoint.create_request(request, model)


def make_template(
    operation: Operation,
    request: t.Any,
    credentials: ReadOnlyCredentials,
    extra_headers: cabc.Mapping[str, str],
) -> Template | None:
    """Make a template of a request.

    :param operation: The operation.
    :param request: What :func:`build_request` has built.
    :param credentials: The credentials that the client signs with.
    :param extra_headers: Added to each request after it was signed.
    :return: The template; ``None`` if filling it does not give botocore's request.
    """
    if _ENCODED_IN_TRANSFER in map(str.lower, extra_headers):
        return None

    headers = {name: _text(value) for name, value in request.headers.items()}
    values = {name.lower(): value for name, value in headers.items()}

    try:
        template = Template(operation, request.url, headers, {})
        made_here = template.fill(
            credentials,
            time=values[_TIME],
            invocation=values[_INVOCATION],
            attempt=values[_ATTEMPT],
            body=request.body,
        )
    except (KeyError, ValueError):
        return None

    if made_here.headers != headers or request.method != "POST":
        return None

    return Template(operation, request.url, headers, extra_headers)


def as_json(params: Params) -> bytes | None:
    """The parameters of an operation with items as JSON, with Python's own ``json``.

    botocore encodes binary values and leaves out parameters that are ``None``; everything else is
    plain JSON.

    :param params: The parameters.
    :return: The JSON text; ``None`` if only botocore can serialise these parameters.
    """
    encoded: list[str] = []

    def encode(value: t.Any) -> str:
        encoded.append(base64.b64encode(value).decode())
        return encoded[-1]

    try:
        try:
            text = json.dumps(params)
        except TypeError:
            text = json.dumps(params, default=encode)
    except (TypeError, ValueError):
        return None

    if "null" in text or '"BS"' in text:
        return None

    # botocore base64-encodes str values of type B, too, and bytes of no other type.
    if (encoded or '"B"' in text) and _BINARY.findall(text) != encoded:
        return None

    return text.encode()


def _authorization(header: str) -> tuple[str, list[str]]:
    """Split a header ``Authorization`` into its credential and the names of the signed headers.

    :raises ValueError: if the algorithm is not Signature Version 4.
    """
    algorithm, _, rest = header.partition(" ")

    if algorithm != ALGORITHM:
        raise ValueError(algorithm)

    credential, signed, _ = (field.partition("=")[2] for field in rest.split(", "))
    return credential, signed.split(";")


def _new_context() -> contextlib.AbstractContextManager[t.Any]:
    """botocore's context of a plain call, also inside of another one (of a paginator, say)."""
    if botocore_context is None:
        return contextlib.nullcontext()

    return botocore_context.start_as_current_context(botocore_context.ClientContext())


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _lines(headers: cabc.Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _host(parts: urllib.parse.SplitResult) -> str:
    """The value of ``Host``, which leaves out the scheme's default port."""
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    return host if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{parts.port}"


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
