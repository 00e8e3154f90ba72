"""From a call's parameters to its reply with a template of the request, past most of botocore.

botocore builds each request from scratch, through its events. Here a template is kept for each
operation, and what fills it is signed, sent and parsed. Retries, errors, credentials and endpoints
are botocore's. Calls that a template can't describe, or into which anything is hooked, go by
botocore altogether. How a request is sent is up to each transport.
"""

from __future__ import annotations

import abc
import collections.abc as cabc
import contextvars
import dataclasses
import functools
import itertools
import os
import time
import typing as t
import uuid

from botocore import handlers
from botocore.awsrequest import AWSPreparedRequest
from botocore.awsrequest import HeadersDict
from botocore.credentials import ReadOnlyCredentials
from botocore.credentials import RefreshableCredentials
from botocore.endpoint import convert_to_response_dict
from botocore.exceptions import HTTPClientError

from ..calls import item_reading
from ..calls import record
from ..calls.item_reading import ReadItems
from ..calls.retry import Damaged
from ..calls.retry import Retry
from ..concurrency import waiting
from ..concurrency.process_local import ProcessLocal
from . import installation
from . import loopback
from . import template
from .hooks import Hooks
from .parser import Parser
from .protocol import Outgoing
from .protocol import Params
from .protocol import Parsed
from .response import Reply
from .response import Response
from .template import Operation
from .template import Request
from .template import Template

Answer = tuple[Response, Parsed]

_ARN = "arn:"
_TIME = "%Y%m%dT%H%M%SZ"
_ATTEMPT_FIELDS = ("ttl", "attempt", "max")
_IN_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME"
_TRACE = "x-amzn-trace-id"


# Without a repr, which would show the items.
@dataclasses.dataclass(slots=True, repr=False)
class PreparedCall:
    """One call, with all its attempts.

    It has no credentials: they are taken when an attempt is signed, and dropped before it is sent.
    What reports the variables of a traceback must not find them.
    """

    operation: Operation
    params: Params
    body: bytes
    invocation: str
    """The identifier that all attempts share."""

    max_attempts: int | None = None
    """What the first attempt tells the server of how many there may be."""

    attempt: int = 1
    context: dict[str, t.Any] | None = None
    """botocore's request context, in which its retries keep their state: from the end of a first
    attempt on that was no success."""

    read: ReadItems | None = None
    """What reads the items of its reply."""

    first: cabc.Callable[[], Response] | None = None
    """Ends the first attempt, where that has begun already."""


# What the next call of this context goes on with, instead of beginning anew.
_begun: contextvars.ContextVar[PreparedCall | None] = contextvars.ContextVar(
    "dynamo_ext.begun", default=None
)


def resume(call: PreparedCall) -> None:
    """Make the next call of the current context that is the same go on with one that was begun
    elsewhere.

    :param call: What was begun. The same call has its operation and its parameters.
    """
    _begun.set(call)


def _take_begun(operation_name: str, params: Params) -> PreparedCall | None:
    """The call that was begun elsewhere, if this is that call.

    Before it is sent, code of the app may make another one in the same context: a receiver of a
    signal, say. That one must not get this one's answer.
    """
    call = _begun.get()

    if call is None or (call.operation.name, call.params) != (operation_name, params):
        return None

    _begun.set(None)
    return call


class _Templates:
    """The templates of requests that are signed with one access key and token."""

    def __init__(self, access_key: str | None, token: str | None) -> None:
        self.access_key = access_key
        self.token = token
        self.by_operation: dict[str, Template | None] = {}
        """By the operation's name; ``None`` for one that botocore must send."""


class PreparedTransport(abc.ABC):
    """Prepares the requests of one client, has them sent, and parses the replies.

    :param client: A botocore client.
    :param retry: Its retries.
    :param hooks: What is hooked into it.
    :param read_timeout_seconds: Longest wait for the next bytes of a reply, in seconds.
    :param max_attempts: How often a call is sent at most.
    :param extra_headers: Added to each request after it was signed.
    """

    name: t.ClassVar[record.Sender]
    """What :attr:`Call.transport` says of the calls that this class sends."""

    def __init__(
        self,
        client: t.Any,
        retry: Retry,
        hooks: Hooks,
        *,
        read_timeout_seconds: float,
        max_attempts: int,
        extra_headers: cabc.Mapping[str, str],
    ) -> None:
        self._client = client
        self._retry = retry
        self.hooks = hooks
        self.read_timeout_seconds = read_timeout_seconds
        self._max_attempts = max_attempts
        self._extra_headers = extra_headers
        self._credentials: t.Any = client._request_signer._credentials
        self._endpoint: t.Any = client._endpoint
        self.http_session: t.Any = client._endpoint.http_session
        self._context = {
            "client_region": client.meta.region_name,
            "client_config": client.meta.config,
            "has_streaming_input": False,
        }
        self._parser = self.make_parser()
        self._check_url = loopback.check_in_tests()
        self._adds_trace = _IN_LAMBDA in os.environ and _TRACE not in map(str.lower, extra_headers)
        self._operations: dict[str, Operation] = {}
        self._templates = _Templates(None, None)

    def prepare(self, operation_name: str, params: Params) -> Outgoing | None:
        """As :meth:`Transport.prepare`."""
        return None

    @property
    def waits_cooperatively(self) -> bool:
        """As :attr:`Transport.waits_cooperatively`."""
        return False

    def send(self, operation_name: str, params: Params) -> Parsed:
        """Send one call. As :meth:`Transport.send`.

        :raises RuntimeError: if a test must not send it.
        """
        call = _take_begun(operation_name, params)

        if call is None and not self.hooks.are_in(operation_name):
            call = self.begin(operation_name, params)

        if call is None:
            return waiting.current.get().in_other_thread(
                lambda: self._send_by_botocore(operation_name, params)
            )

        call.read = item_reading.of(params)
        record.sent_by(self.name)
        answer, error = self._attempt(call)

        if answer is None or not _is_success(answer):
            answer, error = self._try_again(call, answer, error)

        if answer is None:
            raise t.cast(Exception, error)

        response, parsed = answer
        self.end(call, response, parsed)

        if response.status_code >= 300:
            context = call.context or {}
            code = context.get("error_code_override") or parsed.get("Error", {}).get("Code")
            raise self._client.exceptions.from_code(code)(parsed, operation_name)

        return parsed

    def begin(self, operation_name: str, params: Params) -> PreparedCall | None:
        """Prepare a call into which nothing is hooked.

        :param operation_name: DynamoDB's name of the operation.
        :param params: The operation's parameters.
        :return: The call; ``None`` if botocore must send it.
        :raises RuntimeError: if a test must not send it.
        """
        # What is hooked into a call may answer it: then it is checked where urllib3 sends it.
        if self._check_url is not None:
            self._check_url(self._client.meta.endpoint_url)

        if not self.can_prepare or _names_an_arn(params):
            return None

        operation = self._operations.get(operation_name) or self._add_operation(operation_name)
        # Fails before there is a template if a value can't be serialised.
        body = operation.body(params)
        found = self._templates.by_operation.get(operation_name)

        # The credentials of one that is there already are compared when it is filled.
        if found is None and (found := self._template(operation, params)) is None:
            return None

        max_attempts = self._max_attempts if found.names_max_attempts else None
        return PreparedCall(operation, params, body, _invocation_ids.get().next(), max_attempts)

    def end(self, call: PreparedCall, response: Response, parsed: Parsed) -> None:
        """Complete what an answer says of its call, and restore the quota of retries.

        :param call: The call.
        :param response: The answer to its last attempt.
        :param parsed: The content of the answer.
        """
        metadata = parsed.setdefault("ResponseMetadata", {})
        metadata["RetryAttempts"] = call.attempt - 1

        if call.attempt == self._max_attempts:
            # botocore does so after a success, too.
            metadata["MaxAttemptsReached"] = True

        self.restore_quota(call, response)

    def restore_quota(self, call: PreparedCall, response: Response) -> None:
        """Restore the quota of retries after the answer to a call.

        :param call: The call.
        :param response: The answer to its last attempt.
        """
        self._retry.release_quota(context=call.context or {}, http_response=response)

    @abc.abstractmethod
    def close(self) -> None:
        """As :meth:`Transport.close`."""

    def abandon(self) -> None:
        """As :meth:`Transport.abandon`: for the connections of urllib3."""
        installation.abandon_connections(self._client)

    @abc.abstractmethod
    def exchange(self, request: Request) -> Response:
        """Send one request and read the reply.

        :raises botocore.exceptions.BotoCoreError: if there is no complete reply.
        """

    def send_by_urllib3(self, request: Request) -> Response:
        """Send a request by botocore's HTTP session. As :meth:`exchange`.

        :param request: The request.
        """
        session, url = self.http_session, request.template.url
        headers = t.cast(t.Any, HeadersDict(request.headers))
        response = session.send(AWSPreparedRequest("POST", url, headers, request.body, False))
        received = {name.lower(): value for name, value in response.headers.items()}
        return Response(url, Reply(response.status_code, received, response.content))

    def make_parser(self) -> Parser:
        """Make the parser of the replies' content."""
        return Parser()

    def choose_encoder(self) -> template.Encode:
        """Choose what encodes the parameters of operations with items."""
        return template.as_json

    @property
    def can_prepare(self) -> bool:
        """Whether calls are prepared here at all now."""
        return self._credentials is not None

    @property
    def has_current_credentials(self) -> bool:
        """Whether a call made now would not first wait for credentials, which botocore fetches."""
        credentials = self._credentials
        return credentials is not None and not (
            isinstance(credentials, RefreshableCredentials) and credentials.refresh_needed()
        )

    def _send_by_botocore(self, operation_name: str, params: Params) -> Parsed:
        record.sent_by("botocore")
        self.hooks.add_builtin_handlers()
        return installation.send_by_botocore(self._client, operation_name, params)

    def _add_operation(self, name: str) -> Operation:
        operation = self._operations[name] = Operation(self._client, name, self.choose_encoder())
        return operation

    def _freeze(self) -> ReadOnlyCredentials:
        freeze: cabc.Callable[[], ReadOnlyCredentials] = self._credentials.get_frozen_credentials

        if not self.has_current_credentials:
            return waiting.current.get().in_other_thread(freeze)

        return freeze()

    def _template(self, operation: Operation, params: Params) -> Template | None:
        """The template of an operation for the current credentials; ``None`` if botocore must send
        it."""
        try:
            return self._templates_for(self._freeze()).by_operation[operation.name]
        except KeyError:
            pass

        request = template.build_request(self._client, operation, params)
        return self._keep_template(operation, request)

    def _keep_template(self, operation: Operation, request: t.Any) -> Template | None:
        credentials = self._freeze()
        made = template.make_template(operation, request, credentials, self._extra_headers)
        self._templates_for(credentials).by_operation[operation.name] = made
        return made

    def _templates_for(self, credentials: ReadOnlyCredentials) -> _Templates:
        kept = self._templates

        if (kept.access_key, kept.token) != (credentials.access_key, credentials.token):
            kept = self._templates = _Templates(credentials.access_key, credentials.token)

        return kept

    def _try_again(
        self, call: PreparedCall, answer: Answer | None, error: Exception | None
    ) -> tuple[Answer | None, Exception | None]:
        """Send a call again until it succeeds, or botocore's rules end the attempts."""
        retries = {"attempt": call.attempt, "invocation-id": call.invocation}
        context = call.context = {**self._context, "retries": retries}
        request: dict[str, t.Any] = {"context": context, "body": call.body}

        while True:
            decision = self._retry.wait_for_retry(
                attempts=call.attempt,
                response=answer,
                endpoint=self._endpoint,
                operation=call.operation.model,
                caught_exception=error,
                request_dict=request,
            )

            if decision is None or decision is False:
                return answer, error

            call.body = request["body"]
            call.attempt += 1
            self._endpoint._update_retries_context(context, call.attempt, answer)
            answer, error = self._attempt(call)

    def _attempt(self, call: PreparedCall) -> tuple[Answer | None, Exception | None]:
        record.attempted(call.attempt)

        try:
            first, call.first = call.first, None
            response = self.exchange(self.request(call)) if first is None else first()
            return (response, self.parse(call.operation, response, call.read)), None
        except Exception as error:
            return None, error

    def request(self, call: PreparedCall) -> Request:
        """Make the request of a call's next attempt, signed now.

        :param call: The call.
        :raises botocore.exceptions.BotoCoreError: if it can't be signed any more.
        """
        if call.context is None:
            attempt = _first_attempt(call.max_attempts)
        else:
            attempt = _attempt_header(call.context["retries"])

        request = self._sign(call, attempt)

        if self._adds_trace:
            handlers.add_recursion_detection_header({"headers": request.more_headers})

        return request

    def _sign(self, call: PreparedCall, attempt: str) -> Request:
        """Fill a template, with the credentials that are current now.

        :raises botocore.exceptions.HTTPClientError: if they were renewed since the call began, and
            its requests can't be signed in the same way any more.
        """
        while True:
            credentials = self._freeze()
            found = self._templates_for(credentials).by_operation.get(call.operation.name)

            if found is not None:
                break

            del credentials

            if self._template(call.operation, call.params) is None:
                raise HTTPClientError(error="the credentials have changed")

        return found.fill(
            credentials,
            time=_timestamp(int(time.time())),
            invocation=call.invocation,
            attempt=attempt,
            body=call.body,
        )

    def parse(
        self,
        operation: Operation,
        response: Response,
        read: ReadItems | None = None,
        *,
        may_wait: bool = True,
        was_tried: bool = False,
    ) -> Parsed:
        """Parse an answer, also one that is an error.

        :param operation: The operation.
        :param response: The answer.
        :param read: What reads its items; ``None`` if they are left as botocore gives them.
        :param may_wait: Whether this thread may wait for others that parse replies.
        :param was_tried: Whether :meth:`read_items` has left the answer to this method.
        """
        model = operation.model

        if response.status_code < 300:
            return self._parser.parse(
                response.to_parse(),
                model.output_shape,
                read,
                may_wait=may_wait,
                was_tried=was_tried,
            )

        content = convert_to_response_dict(response, model)
        parsed = self._parser.parse(content, model.output_shape)
        self._endpoint._add_modeled_error_fields(content, parsed, model, self._parser)
        return parsed

    def read_items(self, operation: Operation, reply: Reply, read: ReadItems) -> Parsed | None:
        """As :meth:`Parser.read_items`.

        :param operation: The operation.
        :param reply: A reply that is no error.
        :param read: What reads the items.
        """
        return self._parser.read_items(reply, operation.model.output_shape, read)


def _is_success(answer: Answer) -> bool:
    response, parsed = answer
    return response.status_code < 300 and not isinstance(parsed, Damaged)


@functools.lru_cache(maxsize=16)
def _first_attempt(max_attempts: int | None) -> str:
    return _attempt_header({"attempt": 1, "max": max_attempts})


def _attempt_header(retries: cabc.Mapping[str, t.Any]) -> str:
    """What a request tells the server of its attempt, in the order of botocore."""
    fields = [(name, retries.get(name)) for name in _ATTEMPT_FIELDS]
    return "; ".join([f"{name}={value}" for name, value in fields if value is not None])


@functools.lru_cache(maxsize=2)
def _timestamp(seconds: int) -> str:
    return time.strftime(_TIME, time.gmtime(seconds))


class _InvocationIds:
    """Identifiers in the form of UUIDs: random once, then counted in their last digits."""

    def __init__(self) -> None:
        self._start = str(uuid.uuid4())[:24]
        self._numbers = itertools.count()

    def next(self) -> str:
        return f"{self._start}{next(self._numbers):012x}"


# A forked child would go on counting like its parent.
_invocation_ids = ProcessLocal(_InvocationIds)


def _names_an_arn(params: Params) -> bool:
    """Whether a resource is named by its ARN, which may belong to another endpoint."""
    name = params.get("TableName")

    if type(name) is str:
        return name.startswith(_ARN)

    tables: t.Any = params.get("RequestItems")

    if type(tables) is dict:
        # A batch names nothing else.
        return any(map(_is_arn, t.cast("cabc.Iterable[t.Any]", tables)))

    return any(map(_is_arn, itertools.chain(params.values(), _table_names(params))))


def _table_names(params: Params) -> cabc.Iterator[t.Any]:
    yield from params.get("RequestItems") or ()

    for item in params.get("TransactItems") or ():
        for action in item.values():
            yield action and action.get("TableName")


def _is_arn(name: t.Any) -> bool:
    return isinstance(name, str) and name.startswith(_ARN)
