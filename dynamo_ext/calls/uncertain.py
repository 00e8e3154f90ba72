"""Writes whose answer was lost: may they be sent again, and what did the first attempt do?

A request whose answer never came may have been applied. To send it again is harmless where twice is
the same as once. A conditional write that is sent again may fail because of its own first attempt;
DynamoDB then tells what is stored.
"""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import functools
import json
import ssl
import types
import typing as t

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError
from botocore.exceptions import ConnectTimeoutError
from botocore.exceptions import EndpointConnectionError
from botocore.exceptions import ProxyConnectionError

from ..errors import OUTCOME_UNKNOWN
from ..errors import Unavailable
from ..errors import WriteOutcomeUnknown
from ..errors import error_code
from . import deadline
from . import expressions
from . import items
from .expressions import ADD
from .expressions import DELETE
from .expressions import REMOVE
from .expressions import Change
from .expressions import Constant
from .expressions import Function
from .expressions import Operand
from .expressions import Params
from .expressions import Path
from .expressions import Stored

"""The attribute of an exception that says whether a write may have been applied all the same."""

_READS = ("BatchGet", "Describe", "Get", "List", "Query", "Scan", "TransactGet")
_WITH_CONDITION = frozenset({"DeleteItem", "PutItem", "UpdateItem"})
_CONDITION = "ConditionExpression"
_ON_FAILED_CONDITION = "ReturnValuesOnConditionCheckFailure"
_CONDITION_FAILED = "ConditionalCheckFailedException"
# DynamoDB keeps the token of a transaction: had an attempt been applied, this one would succeed.
_TRANSACTION_FAILED = "TransactionCanceledException"
_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError)
_SERVER_ERROR = 500

_current: contextvars.ContextVar[Write | None] = contextvars.ContextVar(
    "dynamo_ext.write", default=None
)


class Loss(t.NamedTuple):
    """What became of the answer to an attempt that may have been applied."""

    reason: str
    error: BaseException | None
    """What the attempt raised."""


class Write:
    """One call that writes, with all its attempts. A context manager around them.

    :param operation: DynamoDB's name of the operation.
    :param params: The operation's parameters.
    :param may_repeat: Whether a write that is not the same twice may be sent again all the same.
    """

    __slots__ = (
        "_is_sending",
        "_is_uncertain",
        "_limit",
        "_may_repeat",
        "_operation",
        "_params",
        "_token",
    )

    def __init__(self, operation: str, params: Params, *, may_repeat: bool) -> None:
        self._operation = operation
        self._params = params
        self._may_repeat = may_repeat
        self._is_uncertain = False
        self._is_sending = False

    def __enter__(self) -> t.Self:
        self._is_sending = True
        self._token = _current.set(self)
        self._limit = deadline.current()

        if self._limit is not None:
            self._limit.uncertain_writes += 1

        return self

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        if self._limit is not None and (error is None or not self._may_be_applied(error)):
            self._limit.uncertain_writes -= 1

        _current.reset(self._token)

    def is_of(self, operation: str) -> bool:
        """Whether this is a call of an operation, and not one around it."""
        return self._operation == operation

    def lose(self, loss: Loss, request: dict[str, t.Any]) -> None:
        """Note that an attempt may have been applied, and prepare the next one.

        :param loss: What became of the answer.
        :param request: The request, whose body may be changed.
        :raises WriteOutcomeUnknown: if the write must not be sent again.
        """
        self._is_uncertain = True

        if not self._may_repeat:
            check_repeatable(self._operation, self._params, loss)

        if self._has_condition and _ON_FAILED_CONDITION not in self._params:
            body = {**json.loads(request["body"]), _ON_FAILED_CONDITION: "ALL_OLD"}
            request["body"] = json.dumps(body).encode()

    def settle(self, error: ClientError) -> dict[str, t.Any] | None:
        """Find out whether a call has succeeded although its last attempt failed.

        :param error: What DynamoDB answered. The stored item is taken from it, unless the caller
            has asked for that item.
        :return: The reply of the attempt that succeeded, whose answer was lost; ``None`` if the
            call has failed, or if that can't be told.
        """
        if not (
            self._is_uncertain and self._has_condition and error_code(error) == _CONDITION_FAILED
        ):
            return None

        response = t.cast("dict[str, t.Any]", error.response)
        asked = self._params.get(_ON_FAILED_CONDITION, "ALL_OLD") == "ALL_OLD"
        stored = response.get("Item")

        if _ON_FAILED_CONDITION not in self._params:
            response.pop("Item", None)

        if not asked or not is_applied(self._operation, self._params, stored):
            return None

        return _reply(self._params, stored, response)

    def tell(self, error: BaseException) -> None:
        """Say on an error whether the write may have been applied.

        :param error: What the call raises.
        """
        setattr(error, OUTCOME_UNKNOWN, self._may_be_applied(error))

    def _may_be_applied(self, error: BaseException) -> bool:
        if isinstance(error, ClientError) and error_code(error) == _TRANSACTION_FAILED:
            return False

        if isinstance(error, (BotoCoreError, ClientError, Unavailable)):
            return self._is_uncertain

        # Raised in the middle of anything, by a signal handler for instance.
        return self._is_sending

    @property
    def _has_condition(self) -> bool:
        return self._operation in _WITH_CONDITION and _CONDITION in self._params


def is_followed() -> bool:
    """Whether this thread is making a write, or something inside of one."""
    return _current.get() is not None


def current(operation: str) -> Write | None:
    """The write that this thread is making, if it is of an operation.

    :param operation: DynamoDB's name of the operation.
    """
    write = _current.get()
    return write if write is not None and write.is_of(operation) else None


# Most calls are reads: this costs them one look into a dictionary.
@functools.lru_cache(maxsize=256)
def is_write(operation: str) -> bool:
    """Whether an operation changes anything.

    :param operation: DynamoDB's name of the operation.
    """
    return not operation.startswith(_READS)


def find_loss(response: tuple[t.Any, t.Any] | None, error: BaseException | None) -> Loss | None:
    """What became of the answer to an attempt that may have been applied.

    :param response: botocore's response and the parsed reply; ``None`` if there is none.
    :param error: What the attempt raised.
    :return: ``None`` for an attempt that was answered or never sent.
    """
    if response is not None:
        status: int = response[0].status_code
        reason = f"the server answered with status {status}"
        return Loss(reason, None) if status >= _SERVER_ERROR else None

    if error is None or _was_never_sent(error):
        return None

    return Loss(str(error).rstrip("."), error)


def check_repeatable(operation: str, params: Params, loss: Loss) -> None:
    """Refuse to send a write again that is not the same twice.

    :param operation: DynamoDB's name of the operation.
    :param params: The operation's parameters.
    :param loss: What became of the answer.
    :raises WriteOutcomeUnknown: if the write is not the same twice.
    """
    if not is_repeatable(operation, params):
        raise WriteOutcomeUnknown(operation=operation, reason=loss.reason) from loss.error


def is_repeatable(operation: str, params: Params) -> bool:
    """Whether a write that is applied twice leaves the same as one that is applied once, or can't
    be applied twice.

    :param operation: DynamoDB's name of the operation.
    :param params: The operation's parameters.
    """
    try:
        if operation == "UpdateItem":
            changed = expressions.changes(params)
            return expressions.is_same_twice(changed) or _is_guarded(changed, params)

        if operation == "ExecuteStatement":
            return _is_same_twice(params)

        if operation == "BatchExecuteStatement":
            return all(map(_is_same_twice, params["Statements"]))
    except expressions.UnknownSyntax:
        return False

    return True


def is_applied(operation: str, params: Params, stored: items.Item | None) -> bool:
    """Whether what is stored is what a write wanted to store.

    :param operation: ``"PutItem"``, ``"UpdateItem"`` or ``"DeleteItem"``.
    :param params: The operation's parameters.
    :param stored: The stored item; ``None`` if there is none.
    :return: ``False`` also where that can't be told.
    """
    if operation == "DeleteItem":
        return stored is None

    if stored is None:
        return False

    if operation == "PutItem":
        return items.normal_item(stored) == items.normal_item(params["Item"])

    try:
        changed = expressions.changes(params)
    except expressions.UnknownSyntax:
        return False

    before = _Before(params)
    return all(_is_made(change, before, stored) for change in changed)


def _is_same_twice(statement: Params) -> bool:
    return expressions.is_same_twice(expressions.statement_changes(statement["Statement"]))


def _is_guarded(changed: cabc.Sequence[Change], params: Params) -> bool:
    """Whether an update makes its own condition false, as that of a version does."""
    before = _Before(params)
    creates = any((name,) in before.absent for name in params.get("Key") or ())
    return creates or any(before.is_changed_by(change) for change in changed)


class _Unknown:
    """Stands for a value that can't be told."""


class _Absent:
    """Stands for the value of an attribute that there is not."""


_UNKNOWN: t.Final = _Unknown()
_ABSENT: t.Final = _Absent()
_Known: t.TypeAlias = items.Value | _Absent
_Told: t.TypeAlias = _Known | _Unknown


class _Before:
    """What is known of the item before a write: what its condition demands.

    :param params: The parameters of the call.
    """

    def __init__(self, params: Params) -> None:
        found = expressions.facts(params)
        self.absent: frozenset[Path] = frozenset(fact.path for fact in found if not fact.value)
        self._values: dict[Path, items.Value] = {
            fact.path: fact.value for fact in found if fact.value
        }

    def value(self, path: Path) -> _Told:
        """The value of an attribute."""
        return _ABSENT if path in self.absent else self._values.get(path, _UNKNOWN)

    def is_changed_by(self, change: Change) -> bool:
        """Whether an attribute that is known is not the same after a change."""
        old = self.value(change.path)

        if old is _ABSENT:
            return change.action in {expressions.SET, ADD}

        new = self.after(change)
        return old is not _UNKNOWN and new is not _UNKNOWN and not _equal(old, new)

    def after(self, change: Change) -> _Told:
        """The value of an attribute after a change."""
        if change.action == REMOVE:
            return _ABSENT

        if change.action == ADD:
            old = self.value(change.path)
            operand = self.evaluate(change.operand)
            return operand if old is _ABSENT else _calculate(items.add, old, operand)

        return _UNKNOWN if change.action == DELETE else self.evaluate(change.operand)

    def evaluate(self, operand: Operand) -> _Told:
        """The value of an operand; never that of an attribute that there is not."""
        if isinstance(operand, Constant):
            return operand.value or _UNKNOWN

        if isinstance(operand, Stored):
            value = self.value(operand.path)
            return _UNKNOWN if value is _ABSENT else value

        return self._call(operand)

    def _call(self, function: Function) -> _Told:
        if len(function.arguments) != 2:
            return _UNKNOWN

        first, second = function.arguments

        if function.name == "if_not_exists" and isinstance(first, Stored):
            old = self.value(first.path)
            return self.evaluate(second) if old is _ABSENT else old

        calculate = {"+": items.add, "-": items.subtract}.get(function.name)

        if calculate is None:
            return _UNKNOWN

        return _calculate(calculate, self.evaluate(first), self.evaluate(second))


def _calculate(calculate: cabc.Callable[[t.Any, t.Any], str], one: _Told, other: _Told) -> _Told:
    if not isinstance(one, cabc.Mapping) or not isinstance(other, cabc.Mapping):
        return _UNKNOWN

    if "N" not in one or "N" not in other:
        return _UNKNOWN

    return {"N": calculate(one["N"], other["N"])}


def _equal(one: _Told, other: _Told) -> bool:
    if not isinstance(one, cabc.Mapping) or not isinstance(other, cabc.Mapping):
        return one is other

    return bool(items.normal(one) == items.normal(other))


def _is_made(change: Change, before: _Before, stored: items.Item) -> bool:
    """Whether an attribute has, for sure, the value that a change gives it."""
    last, found = change.path[-1], _find(change.path, stored)

    if isinstance(last, int) and (change.action == REMOVE or last > 0):
        return False

    value = change.operand.value if isinstance(change.operand, Constant) else None

    if change.action in {ADD, DELETE} and value and items.is_set(value):
        return _has_elements(found, value, wanted=change.action == ADD)

    wanted = before.after(change)
    return wanted is not _UNKNOWN and _equal(wanted, found)


def _find(path: Path, stored: items.Item) -> _Known:
    value: t.Any = {"M": stored}

    for step in path:
        inside: t.Any = value.get("L" if isinstance(step, int) else "M")

        try:
            value = inside[step]
        except (LookupError, TypeError):
            return _ABSENT

    return t.cast("items.Value", value)


def _has_elements(found: _Known, value: items.Value, *, wanted: bool) -> bool:
    """Whether a stored set has all elements of another one, or none."""
    if not isinstance(found, cabc.Mapping):
        return not wanted

    (kind, elements), (stored_kind, stored) = items.normal(value), items.normal(found)

    if stored_kind != kind:
        return False

    return bool(elements <= stored if wanted else stored.isdisjoint(elements))


def _reply(
    params: Params, stored: items.Item | None, response: dict[str, t.Any]
) -> dict[str, t.Any] | None:
    """The lost reply; ``None`` if the caller wants to know what was there before."""
    metadata = {**response.get("ResponseMetadata", {}), "HTTPStatusCode": 200}
    wanted = params.get("ReturnValues", "NONE")

    if wanted == "NONE":
        return {"ResponseMetadata": metadata}

    return {"Attributes": stored, "ResponseMetadata": metadata} if wanted == "ALL_NEW" else None


def _was_never_sent(error: BaseException) -> bool:
    if isinstance(error, _NOT_SENT):
        return True

    causes = list(_causes(error))

    if isinstance(error, ProxyConnectionError):
        # An older urllib3 raises it for a connection that breaks later, too.
        return not any(isinstance(cause, ConnectionError) and _breaks(cause) for cause in causes)

    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)


def _breaks(error: ConnectionError) -> bool:
    return not isinstance(error, ConnectionRefusedError)


def _causes(error: BaseException) -> cabc.Iterator[BaseException]:
    """An error and all that it was made of."""
    seen: set[int] = set()
    found: list[t.Any] = [error]

    while found:
        each = found.pop()

        if not isinstance(each, BaseException) or id(each) in seen:
            continue

        seen.add(id(each))
        yield each
        kwargs: dict[str, t.Any] = getattr(each, "kwargs", {})
        reasons = [getattr(each, name, None) for name in ("reason", "original_error")]
        found += [each.__cause__, each.__context__, kwargs.get("error"), *reasons, *each.args]
