"""Draws what the server answers: ordinary replies, odd ones, and errors."""

from __future__ import annotations

import base64
import typing as t

from hypothesis import strategies as st

from typed_values import anything

from . import deliberate
from . import kinds
from .description import Attribute
from .description import Body
from .description import Model
from .description import Reply
from .models import TABLE

_ERRORS = (
    (400, "ConditionalCheckFailedException"),
    (400, "ValidationException"),
    (400, "ResourceNotFoundException"),
    (400, "ResourceInUseException"),
    (400, "AccessDeniedException"),
    (400, "TransactionCanceledException"),
    (400, "ProvisionedThroughputExceededException"),
    (400, "Unheard-of"),
    (500, "InternalServerError"),
)
_NAMESPACE = "com.amazonaws.dynamodb.v20120810#"
_RETRIED = {"ProvisionedThroughputExceededException", "InternalServerError"}
DISCRIMINATORS = ("child 0", "child 1", "nobody")


@st.composite
def items(draw: st.DrawFn, model: Model) -> Body:
    """An item of a model, as it is sent."""
    attributes = {each.stored_name: kinds.stored_of(each) for each in model.attributes}
    keys = {each.stored_name: kinds.kind_of(each).stored(()) for each in model.keys}

    if draw(st.integers(0, 9)) == 0:
        keys = {}

    rest = {name: stored for name, stored in attributes.items() if name not in keys}
    return t.cast(
        Body,
        as_json(draw(st.fixed_dictionaries(keys, optional={**rest, "undeclared": anything}))),
    )


def as_json(value: t.Any) -> t.Any:
    """A typed value as it is sent, with binary ones in base64."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {name: as_json(part) for name, part in value.items()}
        case list():
            return [as_json(part) for part in value]
        case _:
            return value


@st.composite
def errors(draw: st.DrawFn) -> tuple[Reply, ...]:
    """An error, as often as it is asked for again."""
    status, code = draw(st.sampled_from(_ERRORS))
    body: Body = {"__type": _NAMESPACE + code}

    if draw(st.integers(0, 4)):
        body[draw(st.sampled_from(["message", "Message"]))] = draw(
            st.sampled_from(
                ["said the stub", "Requested resource not found: Table: x", "é\n%s {0}"]
            )
        )

    if code == "TransactionCanceledException":
        reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Message": "no"}]
        body["CancellationReasons"] = draw(st.sampled_from([reasons, reasons[:1], []]))

    reply = Reply(body, status)
    return (reply,) * draw(st.integers(1, 2)) if code in _RETRIED else (reply,)


def answered(usual: st.SearchStrategy[Body]) -> st.SearchStrategy[tuple[Reply, ...]]:
    """The replies to the requests of one call: one that is as it should be, or an error."""
    good = usual.map(Reply)
    # What is sent again after an error gets what is good.
    failing = st.builds(lambda failures, reply: (*failures, reply), errors(), good)
    succeeding = good.map(lambda reply: (reply,))
    return st.one_of(succeeding, succeeding, succeeding, failing)


@st.composite
def pages(
    draw: st.DrawFn, model: Model, index_keys: tuple[Attribute, ...] = ()
) -> tuple[Reply, ...]:
    """The pages of a query or scan."""
    count = draw(st.integers(1, 3))
    replies: list[Reply] = []

    for number in range(count):
        if draw(st.integers(0, 11)) == 0:
            replies += draw(errors())

        page_items = draw(st.lists(items(model), max_size=3))
        body: Body = {
            "Items": page_items,
            "Count": len(page_items),
            "ScannedCount": len(page_items) + draw(st.integers(0, 2)),
        }

        if number < count - 1 or draw(st.integers(0, 3)) == 0:
            body["LastEvaluatedKey"] = draw(_positions(model, index_keys))

        if draw(st.integers(0, 15)) == 0:
            body["ScannedCount"] = draw(st.sampled_from([0, 9]))

        if draw(st.integers(0, 15)) == 0:
            del body[draw(st.sampled_from(["Items", "Count", "ScannedCount"]))]

        replies.append(Reply(body))

    return tuple(replies)


@st.composite
def _positions(draw: st.DrawFn, model: Model, index_keys: tuple[Attribute, ...]) -> Body:
    keys = {each.stored_name: kinds.kind_of(each).stored(()) for each in (*model.keys, *index_keys)}
    return t.cast(Body, as_json(draw(st.fixed_dictionaries(keys))))


def got(model: Model) -> st.SearchStrategy[tuple[Reply, ...]]:
    item = items(model).map(lambda item: {"Item": item})
    return answered(
        st.one_of(item, item, item, st.sampled_from([{}, {"Item": {}}, {"Item": None}]))
    )


def written(model: Model) -> st.SearchStrategy[tuple[Reply, ...]]:
    attributes = items(model).map(lambda item: {"Attributes": item})
    return answered(st.one_of(attributes, attributes, st.just({})))


def batch_got(model: Model) -> st.SearchStrategy[tuple[Reply, ...]]:
    found = st.lists(items(model), max_size=3)
    return answered(found.map(lambda items: {"Responses": {TABLE: items}, "UnprocessedKeys": {}}))


def batch_written() -> st.SearchStrategy[tuple[Reply, ...]]:
    return answered(st.just({"UnprocessedItems": {}}))


def transactions_got(model: Model) -> st.SearchStrategy[tuple[Reply, ...]]:
    one = st.one_of(items(model).map(lambda item: {"Item": item}), st.just(Body()))
    return answered(st.lists(one, max_size=3).map(lambda items: {"Responses": items}))


def described() -> st.SearchStrategy[tuple[Reply, ...]]:
    table = {"TableName": TABLE, "TableStatus": "ACTIVE", "ItemCount": 5}
    return answered(st.just({"Table": table}))


@st.composite
def created(draw: st.DrawFn) -> tuple[Reply, ...]:
    """A table that is missing, and the reply to CreateTable, then to UpdateTimeToLive."""
    missing = Reply({"__type": _NAMESPACE + "ResourceNotFoundException", "message": "none"}, 400)
    creation = draw(
        answered(st.just({"TableDescription": {"TableName": TABLE}})).filter(
            lambda replies: deliberate.TABLE_EXISTS not in replies[0].body.get("__type", "")
        )
    )
    refusal = Reply({"__type": _NAMESPACE + "ValidationException", "message": "no TTL here"}, 400)
    return (missing, *creation, draw(st.sampled_from([Reply({}), refusal])))
