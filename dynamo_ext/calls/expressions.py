"""What DynamoDB's expressions say: what a write changes, and what must hold before.

Names in expressions are often placeholders, so text alone tells nothing: expressions are split into
tokens and parsed. See
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html,
and for PartiQL
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.update.html.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import re
import typing as t

from .items import is_set

Params = cabc.Mapping[str, t.Any]

Path: t.TypeAlias = tuple[str | int, ...]
"""A document path: names of attributes and indexes of lists."""

SET = "SET"
REMOVE = "REMOVE"
ADD = "ADD"
DELETE = "DELETE"
_CLAUSES = frozenset({SET, REMOVE, ADD, DELETE})

_TOKEN = re.compile(
    r"""\s+
    | (?P<text>'(?:[^']|'')*')            # a string of PartiQL
    | (?P<quoted>"(?:[^"]|"")*")          # a name of PartiQL
    | (?P<word>[#:]\w+|[A-Za-z_]\w*)
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<sign><<|>>|<=|>=|<>|[-+=<>,.()\[\]{}?:*/|])
    """,
    re.VERBOSE | re.ASCII,
)
_OPENING = {"(": ")", "[": "]", "{": "}", "<<": ">>"}
_CLOSING = frozenset(_OPENING.values())
_CONSTANTS = frozenset({"true", "false", "null", "missing"})
_SET_FUNCTIONS = frozenset({"set_add", "set_delete"})


class UnknownSyntax(ValueError):
    """An expression is not understood."""


@dataclasses.dataclass(frozen=True)
class Constant:
    """A value that does not depend on what is stored."""

    value: t.Any = None
    """The value with its type; ``None`` if it is not known here."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """The value that an attribute has before the write."""

    path: Path


@dataclasses.dataclass(frozen=True)
class Function:
    """A function or, named by its sign, an operator."""

    name: str
    arguments: tuple[Operand, ...]


Operand: t.TypeAlias = Constant | Stored | Function


@dataclasses.dataclass(frozen=True)
class Change:
    """What one action of an update does to one attribute."""

    action: str
    path: Path
    operand: Operand = Constant()


@dataclasses.dataclass(frozen=True)
class Fact:
    """What a condition demands of one attribute."""

    path: Path
    value: t.Any
    """The value with its type; ``None`` if there must be no such attribute."""


def changes(params: Params) -> list[Change]:
    """What an UpdateItem changes.

    :param params: The parameters of the call.
    :raises UnknownSyntax: if its expression is not understood.
    """
    legacy: cabc.Mapping[str, t.Any] = params.get("AttributeUpdates") or {}
    found = [_legacy_change(name, update) for name, update in legacy.items()]

    if expression := params.get("UpdateExpression"):
        parser = _Parser(expression, params)

        while not parser.is_at_end:
            found += _clause(parser)

    return found


def facts(params: Params) -> list[Fact]:
    """What must hold for single attributes where a condition holds. There may be more that must.

    :param params: The parameters of the call.
    """
    try:
        parser = _Parser(params.get("ConditionExpression") or "", params)
        return list(_facts(parser, parser.tokens))
    except UnknownSyntax:
        return []


def statement_changes(statement: str) -> list[Change]:
    """What a PartiQL statement changes. None for one that is not an update.

    :param statement: The statement.
    :raises UnknownSyntax: if it is not understood.
    """
    parser = _Parser(statement, {})

    if not parser.skip_word("UPDATE"):
        return []

    parser.path()
    found: list[Change] = []

    while action := parser.skip_word(SET) or parser.skip_word(REMOVE):
        found.append(_statement_change(parser, action))

        while parser.skip(","):
            found.append(_statement_change(parser, action))

    if not found or not (parser.is_at_end or parser.skip_word("WHERE")):
        raise UnknownSyntax(statement)

    return found


def is_same_twice(changed: cabc.Sequence[Change]) -> bool:
    """Whether to make these changes twice has the same result as to make them once.

    It has, unless the new value of an attribute depends on one that is changed itself.

    :param changed: The changes of one write.
    """
    targets = [change.path for change in changed]
    return all(_is_same_twice(change, targets) for change in changed)


def _is_same_twice(change: Change, targets: cabc.Sequence[Path]) -> bool:
    last = change.path[-1]

    # Removing an element moves the others; setting one beyond the end appends.
    if isinstance(last, int) and (change.action == REMOVE or last > 0):
        return False

    if change.action == ADD:
        value = change.operand.value if isinstance(change.operand, Constant) else None
        return value is not None and is_set(value)

    return not any(
        _overlap(read, target) for read in _reads(change.operand, change.path) for target in targets
    )


def _reads(operand: Operand, target: Path | None = None) -> cabc.Iterator[Path]:
    """The attributes that a value depends on.

    :param operand: The value.
    :param target: What it is written to, if it is written as it is.
    """
    if isinstance(operand, Stored):
        yield operand.path
    elif isinstance(operand, Function):
        first, *others = operand.arguments
        is_own = target is not None and first == Stored(target)

        # Once it is there, it stays.
        if is_own and operand.name == "if_not_exists":
            return

        # What is in a set already, or is not in it, changes nothing.
        if not (is_own and operand.name in _SET_FUNCTIONS):
            yield from _reads(first)

        for other in others:
            yield from _reads(other)


def _overlap(one: Path, other: Path) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _legacy_change(name: str, update: cabc.Mapping[str, t.Any]) -> Change:
    action, value = update.get("Action", "PUT"), update.get("Value")

    if action == ADD:
        return Change(ADD, (name,), Constant(value))

    if action == DELETE:
        return Change(DELETE if value else REMOVE, (name,), Constant(value))

    return Change(SET, (name,), Constant(value))


def _clause(parser: _Parser) -> cabc.Iterator[Change]:
    action = parser.next().upper()

    if action not in _CLAUSES:
        raise UnknownSyntax(action)

    while True:
        path = parser.path()

        if action == SET:
            parser.expect("=")
            yield Change(action, path, parser.operand())
        elif action == REMOVE:
            yield Change(action, path)
        else:
            yield Change(action, path, parser.simple_operand())

        if not parser.skip(","):
            return


def _statement_change(parser: _Parser, action: str) -> Change:
    path = parser.path()

    if action == REMOVE:
        return Change(action, path)

    parser.expect("=")
    return Change(action, path, parser.operand())


def _facts(parser: _Parser, tokens: cabc.Sequence[str]) -> cabc.Iterator[Fact]:
    while tokens and tokens[0] == "(" and _end_of_group(tokens, 0) == len(tokens) - 1:
        tokens = tokens[1:-1]

    parts = _conjunction(tokens)

    if len(parts) > 1:
        for part in parts:
            yield from _facts(parser, part)
    elif parts and (fact := _fact(parser, tokens)):
        yield fact


def _conjunction(tokens: cabc.Sequence[str]) -> list[cabc.Sequence[str]]:
    """The parts that must all hold; none if that can't be said."""
    parts: list[cabc.Sequence[str]] = []
    start = depth = 0

    for index, token in enumerate(tokens):
        depth += (token in _OPENING) - (token in _CLOSING)
        word = token.upper()

        if depth:
            continue

        if word == "OR":
            return []

        # That of BETWEEN leaves parts that demand nothing of one attribute.
        if word == "AND":
            parts.append(tokens[start:index])
            start = index + 1

    return [*parts, tokens[start:]]


def _fact(parser: _Parser, tokens: cabc.Sequence[str]) -> Fact | None:
    try:
        part = parser.of(tokens)

        if part.skip_word("attribute_not_exists"):
            part.expect("(")
            path = part.path()
            part.expect(")")
            return Fact(path, None) if part.is_at_end else None

        one = part.simple_operand()
        part.expect("=")
        other = part.simple_operand()
    except UnknownSyntax:
        return None

    if isinstance(one, Constant):
        one, other = other, one

    if part.is_at_end and isinstance(one, Stored) and isinstance(other, Constant) and other.value:
        return Fact(one.path, other.value)

    return None


def _end_of_group(tokens: cabc.Sequence[str], start: int) -> int:
    depth = 0

    for index in range(start, len(tokens)):
        depth += (tokens[index] in _OPENING) - (tokens[index] in _CLOSING)

        if depth == 0:
            return index

    raise UnknownSyntax("".join(tokens))


def _tokens(expression: str) -> list[str]:
    tokens: list[str] = []
    position = 0

    while position < len(expression):
        found = _TOKEN.match(expression, position)

        if found is None:
            raise UnknownSyntax(expression)

        position = found.end()

        if not found[0].isspace():
            tokens.append(found[0])

    return tokens


class _Parser:
    """Reads tokens from left to right.

    :param expression: The expression, or its tokens.
    :param params: The parameters that say what its placeholders stand for.
    """

    def __init__(self, expression: str | cabc.Sequence[str], params: Params) -> None:
        self.tokens: cabc.Sequence[str] = (
            _tokens(expression) if isinstance(expression, str) else expression
        )
        self._params = params
        self._names: cabc.Mapping[str, str] = params.get("ExpressionAttributeNames") or {}
        self._values: cabc.Mapping[str, t.Any] = params.get("ExpressionAttributeValues") or {}
        self._position = 0

    def of(self, tokens: cabc.Sequence[str]) -> _Parser:
        """A parser of some of the tokens."""
        return _Parser(tokens, self._params)

    @property
    def is_at_end(self) -> bool:
        return self._position == len(self.tokens)

    @property
    def token(self) -> str:
        """The next token; empty at the end."""
        return "" if self.is_at_end else self.tokens[self._position]

    def next(self) -> str:
        token = self.token
        self._position += not self.is_at_end
        return token

    def skip(self, token: str) -> bool:
        is_there = self.token == token
        self._position += is_there
        return is_there

    def skip_word(self, word: str) -> str | None:
        """Skip a word in whatever case, and return it."""
        is_there = self.token.upper() == word.upper()
        self._position += is_there
        return word if is_there else None

    def expect(self, token: str) -> None:
        if not self.skip(token):
            raise UnknownSyntax(f"{self.token!r} instead of {token!r}")

    def path(self) -> Path:
        steps: list[str | int] = [self._name()]

        while True:
            if self.skip("."):
                steps.append(self._name())
            elif self.skip("["):
                step = self.next()
                steps.append(int(step) if step.isdecimal() else _name_in_quotes(step))
                self.expect("]")
            else:
                return tuple(steps)

    def operand(self) -> Operand:
        """An operand, or a sum or difference of several."""
        left = self.simple_operand()

        while self.token in {"+", "-"}:
            sign = self.next()
            left = Function(sign, (left, self.simple_operand()))

        return left

    def simple_operand(self) -> Operand:
        token = self.token

        if self.skip("("):
            inner = self.operand()
            self.expect(")")
            return inner

        if token in _OPENING:
            return self._collection()

        if token.startswith(":"):
            self.next()
            return Constant(self._values.get(token))

        if token in {"?", "-"} or token.startswith("'") or token[:1].isdigit():
            self.next()
            return self.simple_operand() if token == "-" else Constant()

        if token.lower() in _CONSTANTS:
            self.next()
            return Constant()

        path = self.path()

        if len(path) == 1 and self.skip("("):
            return self._function(str(path[0]))

        return Stored(path)

    def _function(self, name: str) -> Function:
        arguments = [self.operand()]

        while self.skip(","):
            arguments.append(self.operand())

        self.expect(")")
        return Function(name.lower(), tuple(arguments))

    def _collection(self) -> Constant:
        """A list, map or set of PartiQL.

        :raises UnknownSyntax: unless it holds only constants.
        """
        end = _end_of_group(self.tokens, self._position)

        for token in self.tokens[self._position : end]:
            if (token[0].isalpha() or token[0] in '_"') and token.lower() not in _CONSTANTS:
                raise UnknownSyntax(f"{token!r} in a collection")

        self._position = end + 1
        return Constant()

    def _name(self) -> str:
        token = self.next()

        if token.startswith("#"):
            return self._names.get(token, token)

        if token.startswith('"'):
            return _name_in_quotes(token)

        if not token[:1].isalpha() and token[:1] != "_":
            raise UnknownSyntax(f"{token!r} instead of a name")

        return token


def _name_in_quotes(token: str) -> str:
    quote = token[:1]

    if quote not in {"'", '"'}:
        raise UnknownSyntax(f"{token!r} instead of a name")

    return token[1:-1].replace(quote * 2, quote)
