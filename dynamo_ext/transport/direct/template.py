"""What stays the same in all requests of one operation: learnt from botocore, filled in for each.

Botocore makes one signed request. What it made is kept, with gaps for what differs: the time, the
signature, the number of the attempt. A request whose gaps can't be filled here (a signature that
comes out differently, say) makes no template.
"""

from __future__ import annotations

import base64
import collections.abc as cabc
import contextlib
import hashlib
import json
import re
import typing as t
import urllib.parse
import uuid

from botocore.awsrequest import HeadersDict
from botocore.credentials import ReadOnlyCredentials

from ..protocol import Params
from ..sigv4 import ALGORITHM
from ..sigv4 import authorization

try:
    from botocore import context as botocore_context
except ImportError:  # Older releases of botocore have no such context.
    botocore_context = t.cast(t.Any, None)

_TIME = "x-amz-date"
_SIGNATURE = "authorization"
_INVOCATION = "amz-sdk-invocation-id"
_ATTEMPT = "amz-sdk-request"
_LENGTH = "content-length"
_ENCODED_IN_TRANSFER = "transfer-encoding"
_GAPS = (_TIME, _SIGNATURE, _INVOCATION, _ATTEMPT, _LENGTH)
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
_BINARY = re.compile(r'"B": "([^"\\]*)"')


class Operation:
    """One operation of a client.

    :param client: A botocore client.
    :param name: DynamoDB's name of the operation.
    """

    def __init__(self, client: t.Any, name: str) -> None:
        self.name = name
        self.model: t.Any = client.meta.service_model.operation_model(name)
        self._serializer = client._serializer
        self._has_items = name in _ITEM_OPERATIONS
        self._members = frozenset(self.model.input_shape.members)
        self._tokens: tuple[str, ...] = tuple(self.model.idempotent_members)

    def body(self, params: Params) -> bytes:
        """The body of a request, as botocore makes it."""
        if self._tokens:
            missing = [token for token in self._tokens if token not in params]
            params = {**params, **{token: str(uuid.uuid4()) for token in missing}}

        if self._has_items and params.keys() <= self._members and (text := _as_json(params)):
            return text.encode()

        return t.cast(bytes, self._serializer.serialize_to_request(params, self.model)["body"])


class Request:
    """A request that can be sent.

    :param template: What it is made from.
    :param gaps: What fills the template's gaps.
    :param body: The body.
    """

    def __init__(self, template: Template, gaps: dict[str, str], body: bytes) -> None:
        self.template = template
        self.body = body
        self.more_headers: dict[str, str] = {}
        """Headers that this request has beside the template's."""

        self._gaps = gaps

    @property
    def headers(self) -> dict[str, str]:
        """All headers but those that HTTP itself wants."""
        filled = {name: value % self._gaps for name, value in self.template.headers.items()}
        return {**filled, **self.more_headers}

    def to_bytes(self) -> bytes:
        """The request as it is sent."""
        head = self.template.head % self._gaps

        if self.more_headers:
            head += _lines(self.more_headers)

        return head.encode("latin-1") + b"\r\n" + self.body


class Template:
    """The requests of one operation, signed with one key.

    :param operation: The operation.
    :param url: Where it leads.
    :param headers: Those of a request that botocore has made.
    :param extra_headers: To be added to each request, not signed.
    :raises KeyError: if a header is missing that is to be filled in.
    :raises ValueError: if the request is signed in another way.
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
        parts = urllib.parse.urlsplit(url)
        path, host = parts.path or "/", _host(parts)
        values = {name.lower(): value for name, value in headers.items()} | {"host": host}
        missing = [gap for gap in _GAPS if gap not in values]

        if missing:
            raise KeyError(*missing)

        merged = HeadersDict({name: _escaped(value) for name, value in headers.items()})
        merged.update({gap: f"%({gap})s" for gap in _GAPS})
        merged.update({name: _escaped(value) for name, value in extra_headers.items()})
        self.headers: dict[str, str] = dict(merged.items())
        """By name. What is to be filled in is worded as for ``%`` with a dictionary."""

        of_http = {"Host": host, "Accept-Encoding": "identity"}
        start = {name: value for name, value in of_http.items() if name not in merged}
        lines = {_escaped(name): value for name, value in self.headers.items()}
        self.head: str = f"POST {_escaped(path)} HTTP/1.1\r\n{_lines(start)}{_lines(lines)}"
        """The request up to its headers' end, with the same gaps."""

        self.tells_max: bool = "max=" in values[_ATTEMPT]
        """Whether the first attempt, too, tells how many there may be."""

        credential, signed = _authorization(values[_SIGNATURE])
        _, _, self._region, self._service, _ = credential.rsplit("/", 4)
        self._signed = ";".join(signed)
        to_sign = [f"{name}:{' '.join(values[name].split())}\n" for name in signed]
        at = signed.index(_TIME)
        self._before_time = f"POST\n{path}\n\n{''.join(to_sign[:at])}{_TIME}:"
        self._after_time = f"\n{''.join(to_sign[at + 1 :])}\n{self._signed}\n"

    def fill(
        self,
        credentials: ReadOnlyCredentials,
        *,
        time: str,
        invocation: str,
        attempt: str,
        body: bytes,
    ) -> Request:
        """Make a request.

        :param credentials: What to sign it with.
        :param time: The time, as ``YYYYMMDDTHHMMSSZ``.
        :param invocation: What all attempts of a call have in common.
        :param attempt: What is said of this attempt.
        """
        gaps = {
            _TIME: time,
            _SIGNATURE: self._sign(credentials, time, body),
            _INVOCATION: invocation,
            _ATTEMPT: attempt,
            _LENGTH: str(len(body)),
        }
        return Request(self, gaps, body)

    def _sign(self, credentials: ReadOnlyCredentials, time: str, body: bytes) -> str:
        digest = hashlib.sha256(body).hexdigest()
        return authorization(
            credentials,
            service=self._service,
            region=self._region,
            timestamp=time,
            signed_names=self._signed,
            canonical_request=f"{self._before_time}{time}{self._after_time}{digest}",
        )


def learn(
    client: t.Any,
    operation: Operation,
    params: Params,
    credentials: ReadOnlyCredentials,
    extra_headers: cabc.Mapping[str, str],
) -> Template | None:
    """Have botocore make a request, and keep what will be the same in the next ones.

    :param client: A botocore client.
    :param params: What the operation takes.
    :param credentials: What the client signs with.
    :return: The template; ``None`` if there is more to this operation than a template knows of.
    """
    if _ENCODED_IN_TRANSFER in map(str.lower, extra_headers):
        return None

    request = _made_by_botocore(client, operation, params)
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


def _made_by_botocore(client: t.Any, operation: Operation, params: Params) -> t.Any:
    """A request that could be sent, with a context like that of a call."""
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


def _as_json(params: Params) -> str | None:
    """Parameters of an operation with items; ``None`` where botocore does more than to word them.

    It encodes binary values, and leaves out what is ``None``.
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

    # It encodes texts, too, where they are said to be binary; and nothing else that is bytes.
    if (encoded or '"B"' in text) and _BINARY.findall(text) != encoded:
        return None

    return text


def _authorization(header: str) -> tuple[str, list[str]]:
    """The credential, and the names of the signed headers.

    :raises ValueError: if it is another algorithm's.
    """
    algorithm, _, rest = header.partition(" ")

    if algorithm != ALGORITHM:
        raise ValueError(algorithm)

    credential, signed, _ = (field.partition("=")[2] for field in rest.split(", "))
    return credential, signed.split(";")


def _new_context() -> contextlib.AbstractContextManager[t.Any]:
    """Botocore's context of a plain call, whatever the current one is of (a paginator, say)."""
    if botocore_context is None:
        return contextlib.nullcontext()

    return botocore_context.start_as_current_context(botocore_context.ClientContext())


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _lines(headers: cabc.Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _host(parts: urllib.parse.SplitResult) -> str:
    """The header ``Host``, which names no port that goes without saying."""
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    usual = {"http": 80, "https": 443}[parts.scheme]
    return host if parts.port in {None, usual} else f"{host}:{parts.port}"


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
