"""What a test may name: operations and error codes of DynamoDB, and tables."""

from __future__ import annotations

import collections.abc as cabc
import difflib
import functools
import typing as t

import botocore.model
import botocore.session

# Those of all of AWS's services, which are not part of a service's model, and 500s that are:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html
_STATUS = {
    "AccessDeniedException": 400,
    "ExpiredTokenException": 400,
    "IncompleteSignatureException": 400,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "InvalidSignatureException": 400,
    "MissingAuthenticationTokenException": 400,
    "RequestExpired": 400,
    "ServiceUnavailable": 503,
    "ThrottlingException": 400,
    "UnrecognizedClientException": 400,
    "ValidationException": 400,
}
_DEFAULT_STATUS = 400
# In seconds: longer than any test, and what every operating system accepts as a timeout.
_LONGEST = 86400


def check_operation(name: object, allowed: cabc.Iterable[str] | None = None) -> None:
    """Check the name of an operation.

    :param name: The name; ``None`` for any operation.
    :param allowed: The names that make sense. Default: all of DynamoDB's.
    :raises ValueError: if it is none of them.
    """
    if name is not None and allowed is None:
        known = _operations()
        _check("operation", name, known, "the name of an operation of DynamoDB like 'GetItem'")
    elif name is not None and allowed is not None:
        _check("operation", name, allowed, "an operation that can leave items unprocessed")


def status_of(error: object) -> int:
    """The HTTP status with which DynamoDB answers an error.

    :param error: DynamoDB's error code.
    :raises ValueError: if DynamoDB has no such error.
    """
    known = {**dict.fromkeys(_modelled_errors(), _DEFAULT_STATUS), **_STATUS}
    _check("error", error, known, "an error code of DynamoDB like 'ThrottlingException'")
    return known[str(error)]


def check_table(name: object, prefix: str, known: cabc.Collection[str]) -> None:
    """Check the name of a table.

    :param name: The name; ``None`` for any table.
    :param prefix: The test's prefix, which is not part of it.
    :param known: The tables that there are, and those of the models. Without any, every name may be
        right.
    :raises ValueError: if it is none of them.
    """
    if isinstance(name, str) and name.startswith(prefix):
        raise ValueError(
            f"'table' must be a name without the test's prefix: {name.removeprefix(prefix)!r}."
        )

    if name is not None and (known or not isinstance(name, str) or not name):
        _check("table", name, known, "the name of a table, without the test's prefix")


def check_times(times: object) -> None:
    """Check a number of requests.

    :param times: The number.
    :raises ValueError: if it is not a positive whole number.
    """
    _check_whole("times", times)


def check_count(count: object) -> None:
    """Check a number of items.

    :param count: The number; ``None`` for all.
    :raises ValueError: if it is neither.
    """
    if count is not None:
        _check_whole("count", count)


def check_seconds(seconds: object) -> None:
    """Check a time.

    :param seconds: The time, in seconds.
    :raises ValueError: if it is not a positive number.
    """
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)

    if not (is_number and 0 < t.cast(float, seconds) <= _LONGEST):
        raise ValueError(
            f"'seconds' must be a number above 0 and at most {_LONGEST}, not {seconds!r}."
        )


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name!r} must be a whole number from 1 on, not {value!r}.")


def _check(argument: str, value: object, known: cabc.Iterable[str], wanted: str) -> None:
    names = sorted(known)

    if value in names:
        return

    nearest = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) else []
    hint = f"Did you mean {nearest[0]!r}?" if nearest else f"Known are: {', '.join(names)}."
    raise ValueError(f"{argument!r} must be {wanted}, not {value!r}. {hint}")


@functools.cache
def _operations() -> frozenset[str]:
    return frozenset(_service_model().operation_names)


@functools.cache
def _modelled_errors() -> frozenset[str]:
    return frozenset(shape.name for shape in _service_model().error_shapes)


@functools.cache
def _service_model() -> botocore.model.ServiceModel:
    return botocore.session.get_session().get_service_model("dynamodb")
