"""Makes the calls of a scenario on one side, and notes all that can be seen of them.

There is one implementation, of coroutines: on the sides that block, they never wait.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import copy
import operator
import typing as t

from stub import Answer
from stub import Request
from stub import Stub

from . import building
from . import deliberate
from . import description
from . import overrides
from . import pictures
from .building import Built
from .description import Scenario
from .sides import Side

Seen = list[t.Any]
_OPERATIONS = (
    *("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"),
    *("BatchGetItem", "BatchWriteItem", "TransactGetItems", "TransactWriteItems"),
    *("CreateTable", "DescribeTable", "DeleteTable", "UpdateTimeToLive"),
)
_MOST_STEPS = 12
_COMPARE: dict[str, t.Any] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Script:
    """What the server says, one reply after the other; when they end, nothing but ``{}``."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._replies: collections.deque[description.Reply] = collections.deque()

        for name in _OPERATIONS:
            stub.always(name, self._answer)

    def begin(self, replies: cabc.Iterable[description.Reply]) -> None:
        self._stub.forget()
        self._replies = collections.deque(replies)

    def sent(self) -> Seen:
        """What was sent since then."""
        return [pictures.of_request(request) for request in self._stub.requests]

    def _answer(self, request: Request) -> Answer:
        reply = self._replies.popleft() if self._replies else description.Reply({})
        return Answer(status=reply.status, body=reply.body)


class Run:
    """One scenario on one side."""

    def __init__(self, side: Side, script: Script) -> None:
        self._side = side
        self._script = script
        self._item: t.Any = None

    async def run(self, scenario: Scenario) -> Seen:
        """Make all calls.

        :param scenario: The model and the calls. It is not changed.
        :return: For each step, what was sent, what came back or was raised, and which overridden
            methods were called.
        """
        # Values of a scenario must not be those that the other side changes.
        scenario = copy.deepcopy(scenario)

        try:
            built = building.build(scenario.model, self._side.foundation)
        except Exception as error:
            return [pictures.of_error(error)]

        return [await self._step(built, step) for step in scenario.steps]

    async def _step(self, built: Built, step: description.Step) -> Seen:
        overrides.calls.clear()
        self._script.begin(step.replies)
        seen: Seen = []

        try:
            await self._perform(built, step, seen)
        except Exception as error:
            seen.append(pictures.of_error(error))

        called = [pictures.of_value(call) for call in overrides.calls]
        return [
            type(step).__name__,
            self._script.sent(),
            seen,
            called,
            pictures.of_value(self._item),
        ]

    async def _perform(self, built: Built, step: description.Step, seen: Seen) -> None:
        match step:
            case description.Create():
                self._item = None
                owner = built.model if step.child is None else built.children.get(step.child)
                self._item = None if owner is None else owner(**step.values)
            case description.DefineLate():
                seen.append(built.define_late())
            case description.Iterate():
                await self._iterate(built, step, seen)
            case description.Call():
                await self._call(built, step, seen)
            case description.BatchWrite():
                await self._batch_write(built, step, seen)
            case description.TransactGet():
                await self._transact_get(built, step, seen)
            case description.TransactWrite():
                await self._transact_write(built, step, seen)
            case _:
                raise AssertionError(step)

    async def _call(self, built: Built, step: description.Call, seen: Seen) -> None:
        owner, args, kwargs = self._resolved(built, step)

        if owner is None or (
            step.method in deliberate.NEED_THE_KEY_OF_THE_ITEM and self._lacks_key(built)
        ):
            return

        if step.is_local:
            result = getattr(owner, step.method)(*args, **kwargs)
        else:
            result = await self._side.call(owner, step.method, *args, **kwargs)

        seen.append(pictures.of_value(result))

        if step.method in {"get", "from_raw_data"} and isinstance(result, built.model):
            self._item = result

    async def _iterate(self, built: Built, step: description.Iterate, seen: Seen) -> None:
        owner, args, kwargs = self._resolved(built, step)
        iterator = self._side.iterate(owner, step.method, *args, **kwargs)

        for _ in range(min(step.take, _MOST_STEPS) + 1):
            seen += [[name, _look_at(iterator, name)] for name in step.then]

            try:
                seen.append(pictures.of_value(await self._side.next(iterator)))
            except (StopIteration, StopAsyncIteration):
                seen.append("end")
                break
            except Exception as error:
                seen.append(pictures.of_error(error))

                if isinstance(error, deliberate.ENDS_AN_ITERATION[step.method]):
                    break

    async def _batch_write(self, built: Built, step: description.BatchWrite, seen: Seen) -> None:
        # Before the batch, because an error in its block is a deliberate difference.
        operations = [(name, built.model(**values)) for name, values in step.operations]

        async with self._side.batch_write(built.model, auto_commit=step.auto_commit) as batch:
            for name, item in operations:
                await self._side.in_batch(batch, name, item)

    async def _transact_get(self, built: Built, step: description.TransactGet, seen: Seen) -> None:
        async with self._side.transact_get() as transaction:
            futures = [transaction.get(built.model, *key) for key in step.keys]

        for future in futures:
            try:
                seen.append(pictures.of_value(future.get()))
            except Exception as error:
                seen.append(pictures.of_error(error))

    async def _transact_write(
        self, built: Built, step: description.TransactWrite, seen: Seen
    ) -> None:
        items: list[t.Any] = []

        try:
            async with self._side.transact_write() as transaction:
                for method, values, kwargs in step.operations:
                    options = _resolve(built, kwargs)

                    if method == "condition_check":
                        key = [values.get(each.name) for each in built.description.keys]
                        transaction.condition_check(built.model, *key, **options)
                    else:
                        items.append(built.model(**values))
                        getattr(transaction, method)(items[-1], **options)
        finally:
            seen.append(pictures.of_value(items))

    def _lacks_key(self, built: Built) -> bool:
        return any(getattr(self._item, key.name, None) is None for key in built.description.keys)

    def _resolved(
        self, built: Built, step: description.Call
    ) -> tuple[t.Any, list[t.Any], dict[str, t.Any]]:
        owners = {"model": built.model, "item": self._item}
        owner = owners[step.on] if step.on in owners else getattr(built.model, step.on)
        return owner, _resolve(built, list(step.args)), _resolve(built, step.kwargs)


def _look_at(iterator: t.Any, name: str) -> t.Any:
    try:
        return pictures.of_value(getattr(iterator, name))
    except Exception as error:
        return pictures.of_error(error)


def _resolve(built: Built, value: t.Any) -> t.Any:
    """A value of a description, with conditions and actions on the side's own class."""
    match value:
        case description.Condition():
            return _condition(built, value)
        case description.Action():
            return _action(built, value)
        case list():
            return [_resolve(built, part) for part in value]
        case dict():
            return {name: _resolve(built, part) for name, part in value.items()}
        case _:
            return value


def _condition(built: Built, described: description.Condition) -> t.Any:
    name, operands = described.operator, described.operands

    if described.attribute is None:
        first, second = (_condition(built, operand) for operand in operands)
        return {"and": first & second, "or": first | second, "not": ~first}[name]

    attribute = getattr(built.model, described.attribute)

    if name in _COMPARE:
        return _COMPARE[name](attribute, *operands)

    return getattr(attribute, name)(*operands)


def _action(built: Built, described: description.Action) -> t.Any:
    attribute, operands = getattr(built.model, described.attribute), described.operands
    made: dict[str, cabc.Callable[[], t.Any]] = {
        "plus": lambda: attribute.set(attribute + operands[0]),
        "minus": lambda: attribute.set(attribute - operands[0]),
        "append": lambda: attribute.set(attribute.append(operands[0])),
        "or": lambda: attribute.set(attribute | operands[0]),
        "copy": lambda: attribute.set(attribute),
    }
    make = made.get(described.operator)
    return getattr(attribute, described.operator)(*operands) if make is None else make()
