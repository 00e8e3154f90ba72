"""Draws what is done with a model."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from hypothesis import strategies as st

from . import kinds
from . import replies
from .description import Action
from .description import Attribute
from .description import BatchWrite
from .description import Call
from .description import Condition
from .description import Create
from .description import DefineLate
from .description import Index
from .description import Iterate
from .description import Model
from .description import Reply
from .description import Scenario
from .description import Step
from .description import TransactGet
from .description import TransactWrite
from .description import Values
from .models import models

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_NO_OPERAND = ("exists", "does_not_exist", "is_type")
_LOOKED_AT = ("last_evaluated_key", "total_count")
Steps = st.SearchStrategy[Step]


# --- arguments


@st.composite
def conditions(draw: st.DrawFn, attributes: cabc.Sequence[Attribute], depth: int = 1) -> Condition:
    """A condition on some of the attributes."""
    if depth and draw(st.integers(0, 3)) == 0:
        parts = st.tuples(*[conditions(attributes, depth - 1)] * 2)
        return Condition(draw(st.sampled_from(["and", "or", "not"])), None, draw(parts))

    attribute = draw(st.sampled_from(attributes))
    value = kinds.values_of(attribute)
    operator = draw(
        st.sampled_from([*_COMPARISONS, *_NO_OPERAND, "between", "is_in", "contains", "startswith"])
    )
    count = {"between": 2, "is_in": 2}.get(operator, 0 if operator in _NO_OPERAND else 1)
    return Condition(operator, attribute.name, draw(st.tuples(*[value] * count)))


@st.composite
def actions(draw: st.DrawFn, attributes: cabc.Sequence[Attribute]) -> Action:
    """A change of one of the attributes."""
    attribute = draw(st.sampled_from(attributes))
    operator = draw(
        st.sampled_from(
            ["set", "set", "remove", "add", "delete", "plus", "minus", "append", "or", "copy"]
        )
    )
    value = kinds.values_of(attribute)
    return Action(operator, attribute.name, () if operator == "remove" else (draw(value),))


def values(model: Model, child: int | None = None) -> st.SearchStrategy[Values]:
    """What an instance is created with."""
    own = () if child is None else model.children[child].layer.attributes
    attributes = [*model.own_attributes, *own]
    settable = [each for each in attributes if each.kind != "discriminator"]
    keys = {each.name: kinds.fitting_values_of(each) for each in settable if each.key}
    others = {each.name: kinds.values_of(each) for each in settable if not each.key}
    optional = {each.name for each in settable if each.null}
    usual = st.fixed_dictionaries(
        {**keys, **{name: value for name, value in others.items() if name not in optional}},
        optional={name: value for name, value in others.items() if name in optional},
    )
    odd = st.fixed_dictionaries(keys, optional={**others, "nobody": st.just(1)})
    return kinds.mostly(usual, odd)


def keys(model: Model) -> st.SearchStrategy[tuple[t.Any, ...]]:
    """The key of an item."""
    parts = [kinds.fitting_values_of(key) for key in model.keys]
    return st.tuples(*parts)


@st.composite
def arguments(draw: st.DrawFn, /, **options: st.SearchStrategy[t.Any]) -> Values:
    """Some of the keyword arguments of a method."""
    return draw(st.fixed_dictionaries({}, optional=options))


_booleans = st.booleans()
_limits = st.one_of(st.none(), st.integers(0, 5))
_names_to_get = st.sampled_from([None, ["alpha"], ["id", "beta"], []])


def _conditions_of(model: Model) -> st.SearchStrategy[Condition | None]:
    return st.one_of(st.none(), conditions(model.own_attributes))


# --- calls of one item


@st.composite
def creations(draw: st.DrawFn, model: Model) -> Step:
    numbers = [None, *range(len(model.children))]
    child = draw(st.sampled_from(numbers))
    return Create(child=child, values=draw(values(model, child)))


@st.composite
def gets(draw: st.DrawFn, model: Model) -> Step:
    options = {"consistent_read": _booleans, "attributes_to_get": _names_to_get}
    key = draw(keys(model))
    kwargs = draw(arguments(**options))

    if len(key) == 2 and draw(_booleans):
        *key, kwargs["range_key"] = key  # type: ignore[assignment]

    return Call(
        on="model", method="get", args=tuple(key), kwargs=kwargs, replies=draw(replies.got(model))
    )


@st.composite
def writes(draw: st.DrawFn, model: Model) -> Step:
    method = draw(st.sampled_from(["save", "save", "delete", "update"]))
    kwargs = draw(arguments(condition=_conditions_of(model), add_version_condition=_booleans))
    args: tuple[t.Any, ...] = ()

    if method == "update":
        args = (draw(st.lists(actions(model.own_attributes), max_size=3)),)

    if "condition" in kwargs and draw(_booleans):
        args = (*args, kwargs.pop("condition"))

    if draw(st.integers(0, 19)) == 0:
        kwargs["audit"] = draw(_booleans)

    answers = draw(replies.written(model))
    return Call(on="item", method=method, args=args, kwargs=kwargs, replies=answers)


@st.composite
def refreshes(draw: st.DrawFn, model: Model) -> Step:
    kwargs = draw(arguments(consistent_read=_booleans))
    return Call(on="item", method="refresh", kwargs=kwargs, replies=draw(replies.got(model)))


def local_calls(model: Model) -> Steps:
    names = ("to_simple_dict", "to_dynamodb_dict", "to_json", "serialize", "__repr__")
    return st.sampled_from(names).map(lambda name: Call(on="item", method=name, is_local=True))


def raw_items(model: Model) -> Steps:
    """Calls that make an instance of what DynamoDB sends, or read that into one."""
    # Only what is JSON: botocore would have decoded binary values.
    texts = st.fixed_dictionaries({}, optional=_texts_of(model))
    calls = [("model", "from_raw_data"), ("item", "deserialize"), ("item", "from_dynamodb_dict")]
    return st.builds(
        lambda call, raw: Call(on=call[0], method=call[1], args=(raw,), is_local=True),
        st.sampled_from(calls),
        texts,
    )


def _texts_of(model: Model) -> dict[str, st.SearchStrategy[t.Any]]:
    return {
        each.stored_name: kinds.stored_of(each)
        for each in model.attributes
        if "binary" not in each.kind
    }


# --- calls of many items


@st.composite
def iterations(draw: st.DrawFn, model: Model) -> Step:
    index = draw(st.sampled_from([None, None, *model.indexes]))
    method = draw(st.sampled_from(["query", "query", "scan"]))
    kwargs = draw(
        arguments(
            filter_condition=_conditions_of(model),
            consistent_read=_booleans,
            limit=_limits,
            page_size=_limits,
            last_evaluated_key=_starts(model),
            attributes_to_get=_names_to_get,
        )
    )
    args: tuple[t.Any, ...] = ()

    if method == "query":
        hash_key, conditioned = _query_keys(model, index)
        args = (draw(kinds.fitting_values_of(hash_key)),)
        kwargs.update(draw(arguments(scan_index_forward=_booleans)))

        if draw(_booleans) and conditioned:
            kwargs["range_key_condition"] = draw(conditions(conditioned, 0))
    else:
        kwargs.update(draw(arguments(segment=st.just(1), total_segments=st.just(3))))

    return Iterate(
        on="model" if index is None else index.name,
        method=method,
        args=args,
        kwargs=kwargs,
        take=draw(st.integers(0, 8)),
        then=draw(st.sampled_from([_LOOKED_AT, ()])),
        replies=draw(replies.pages(model, () if index is None else index.keys)),
    )


def _starts(model: Model) -> st.SearchStrategy[t.Any]:
    # Keys that are binary would have to be as botocore gives them.
    return st.sampled_from([None, {each.stored_name: {"S": "x"} for each in model.keys}])


def _query_keys(model: Model, index: Index | None) -> tuple[Attribute, list[Attribute]]:
    first, *others = model.keys if index is None else index.keys
    return first, others


@st.composite
def counts(draw: st.DrawFn, model: Model) -> Step:
    index = draw(st.sampled_from([None, None, *model.indexes]))
    hash_key, conditioned = _query_keys(model, index)
    kwargs = draw(
        arguments(filter_condition=_conditions_of(model), consistent_read=_booleans, limit=_limits)
    )

    if index is None and draw(st.integers(0, 4)) == 0:
        return Call(on="model", method="count", kwargs=kwargs, replies=draw(replies.described()))

    if draw(_booleans) and conditioned:
        kwargs["range_key_condition"] = draw(conditions(conditioned, 0))

    pages = draw(replies.pages(model))
    return Call(
        on="model" if index is None else index.name,
        method="count",
        args=(draw(kinds.fitting_values_of(hash_key)),),
        kwargs=kwargs,
        replies=tuple(_counted(reply) for reply in pages),
    )


def _counted(reply: Reply) -> Reply:
    body = {name: part for name, part in reply.body.items() if name != "Items"}
    return Reply(body, reply.status)


@st.composite
def batch_gets(draw: st.DrawFn, model: Model) -> Step:
    key = st.tuples(*[kinds.fitting_values_of(key) for key in model.keys])
    several = draw(st.lists(key, max_size=4, unique=True))
    items = several if len(model.keys) == 2 else [hash_key for (hash_key,) in several]
    options = {"consistent_read": _booleans, "attributes_to_get": _names_to_get}
    return Iterate(
        on="model",
        method="batch_get",
        args=(items,),
        kwargs=draw(arguments(**options)),
        replies=draw(replies.batch_got(model)),
    )


@st.composite
def batch_writes(draw: st.DrawFn, model: Model) -> Step:
    complete = values(model).filter(lambda given: all(key.name in given for key in model.keys))
    operation = st.tuples(st.sampled_from(["save", "save", "delete"]), complete)
    operations = draw(st.lists(operation, max_size=4, unique_by=_key_of))
    return BatchWrite(
        operations=tuple(operations),
        auto_commit=draw(_booleans),
        replies=draw(replies.batch_written()),
    )


def _key_of(operation: tuple[str, Values]) -> str:
    return repr([_stored(operation[1].get(name)) for name in ("id", "pk", "range")])


def _stored(value: t.Any) -> t.Any:
    """The same for all values that are the same key."""
    value = getattr(value, "value", value)
    return value.upper() if isinstance(value, str) else value


@st.composite
def transaction_gets(draw: st.DrawFn, model: Model) -> Step:
    several = draw(st.lists(keys(model), max_size=3))
    return TransactGet(keys=tuple(several), replies=draw(replies.transactions_got(model)))


@st.composite
def transaction_writes(draw: st.DrawFn, model: Model) -> Step:
    return TransactWrite(
        operations=tuple(draw(st.lists(_in_transaction(model), max_size=3))),
        replies=draw(replies.answered(st.just({}))),
    )


@st.composite
def _in_transaction(draw: st.DrawFn, model: Model) -> tuple[str, Values, Values]:
    method = draw(st.sampled_from(["save", "delete", "update", "condition_check"]))
    kwargs = draw(arguments(condition=_conditions_of(model)))

    if method == "update":
        kwargs["actions"] = draw(st.lists(actions(model.own_attributes), min_size=1, max_size=2))

    if method in {"delete", "update"}:
        kwargs.update(draw(arguments(add_version_condition=_booleans)))

    if method in {"save", "update"}:
        kwargs.update(draw(arguments(return_values=st.just("ALL_OLD"))))

    return method, draw(values(model)), kwargs


# --- calls of tables


@st.composite
def table_calls(draw: st.DrawFn, model: Model) -> Step:
    method = draw(
        st.sampled_from(
            ["create_table", "create_table", "delete_table", "exists", "describe_table"]
        )
    )

    if method != "create_table":
        return Call(on="model", method=method, replies=draw(replies.described()))

    kwargs = draw(
        arguments(
            ignore_update_ttl_errors=_booleans,
            read_capacity_units=st.integers(1, 9),
            billing_mode=st.just("PAY_PER_REQUEST"),
        )
    )
    return Call(on="model", method=method, kwargs=kwargs, replies=draw(replies.created()))


# --- scenarios

AREAS: dict[str, tuple[cabc.Callable[[Model], Steps], ...]] = {
    "items": (gets, gets, creations, writes, writes, refreshes, local_calls, raw_items),
    "pages": (iterations, iterations, counts, writes),
    "batches": (batch_gets, batch_writes, transaction_gets, transaction_writes),
    "tables": (table_calls, table_calls, counts, gets),
}

MEETS: dict[str, tuple[str, ...]] = {
    "items": ("get", "Create", "save", "update", "delete", "refresh"),
    "pages": ("query", "scan", "count", "save", "DefineLate"),
    "batches": ("batch_get", "BatchWrite", "TransactGet", "TransactWrite"),
    "tables": ("create_table", "delete_table", "exists", "describe_table", "count", "get"),
}
"""The calls of each area, of which many scenarios have all."""


@st.composite
def scenarios(draw: st.DrawFn, area: str) -> Scenario:
    """A model, and a series of calls of one area."""
    model = draw(models())
    steps = draw(st.lists(st.one_of([step(model) for step in AREAS[area]]), min_size=1, max_size=5))

    if any(child.is_late for child in model.children):
        steps.insert(draw(st.integers(0, len(steps))), DefineLate())

    return Scenario(model, (draw(creations(model)), *steps))
