"""What expressions are understood to do: a table of DynamoDB's grammar."""

from __future__ import annotations

import typing as t

import pytest

from dynamo_ext.calls import expressions
from dynamo_ext.calls.expressions import Fact
from dynamo_ext.calls.expressions import UnknownSyntax
from dynamo_ext.calls.uncertain import is_applied
from dynamo_ext.calls.uncertain import is_repeatable

pytestmark = pytest.mark.once(reason="no call is sent")

NAMES = {"#0": "a", "#1": "b", "#m": "map", "#dotted": "a.b", "#set": "SET"}
VALUES: dict[str, t.Any] = {
    ":n": {"N": "1"},
    ":zero": {"N": "0"},
    ":s": {"S": "text"},
    ":l": {"L": [{"S": "x"}]},
    ":ss": {"SS": ["x"]},
    ":ns": {"NS": ["1"]},
    ":bs": {"BS": [b"x"]},
}


def update(expression: str, condition: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    conditions = {} if condition is None else {"ConditionExpression": condition}
    return {
        "TableName": "table",
        "Key": {"id": {"S": "1"}},
        "UpdateExpression": expression,
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": VALUES,
        **conditions,
        **more,
    }


SAME_TWICE = [
    "SET #0 = :n",
    "SET a = :n",
    "set #0=:n",
    "SET #0 = :n, #1 = :s",
    "SET #0 = :n REMOVE #1 ADD s :ss DELETE t :ns",
    "SET #m.#0[0].b = :n",
    "SET #0[0] = :n",
    "SET #dotted = a + :n",
    "SET #0 = b + :n",
    "SET #0 = (#1 - :n)",
    "SET #0 = list_append(:l, :l)",
    "SET #0 = list_append(#1, :l)",
    "SET #0 = if_not_exists(#0, :n)",
    "SET #0 = if_not_exists(#0, #1), #1 = :s",
    "SET #0 = if_not_exists(#1, :n)",
    "SET a2 = a + :n",
    "REMOVE #0",
    "REMOVE #0, #m.b",
    "REMOVE #0[0].b",
    "ADD #0 :ss",
    "ADD #0 :ns, #1 :bs",
    "DELETE #0 :ss",
    "SET #set = :n",
    "\n SET\t#0 =\n:n ",
]

NOT_THE_SAME_TWICE = [
    "ADD #0 :n",
    "add a :n",
    "ADD #0 :ss, #1 :n",
    "ADD #m.a :n",
    "ADD #0 :missing",
    "SET #0 = #0 + :n",
    "SET #0=#0+:n",
    "SET #0 = a + :n",
    "SET #0 = :n + #0",
    "SET #0 = #0 - :n",
    "SET #0 = :n - #0",
    "SET #0 = (#0 + :n)",
    "SET #0 = list_append(#0, :l)",
    "SET #0 = list_append(:l, #0)",
    "SET #0 = list_append(if_not_exists(#0, :l), :l)",
    "SET #0 = if_not_exists(#0, :zero) + :n",
    "SET #0 = if_not_exists(#1, #0)",
    "SET #0 = if_not_exists(#1, :n), #1 = :n",
    "SET #0 = #1, #1 = #0",
    "SET #0 = #1, #1 = :n",
    "SET #0 = #1 REMOVE #1",
    "SET #0 = #m.a.b, #m = :n",
    "SET #0 = #m, #m.a = :n",
    "SET #0 = t ADD t :ss",
    "SET #0[1] = :n",
    "SET #m.#0[20] = :n",
    "REMOVE #0[0]",
    "REMOVE #1, #m.a[3]",
    "SET #1 = :n SET #0 = #0 + :n",
    # Not understood, so better not sent again.
    "SET #0 == :n",
    "PUT #0 :n",
    "SET #0 = f(",
    "SET #0",
    "SET 1 = :n",
    "SET #0 = :n ~",
]


@pytest.mark.parametrize("expression", SAME_TWICE)
def test_an_update_that_is_the_same_twice(expression: str) -> None:
    assert is_repeatable("UpdateItem", update(expression))


@pytest.mark.parametrize("expression", NOT_THE_SAME_TWICE)
def test_an_update_that_is_not_the_same_twice(expression: str) -> None:
    assert not is_repeatable("UpdateItem", update(expression))


GUARDED = [
    ("ADD #0 :n", "#0 = :zero"),
    ("ADD #0 :n", ":zero = a"),
    ("SET #1 = :s ADD #0 :n", "((#1 <> :s) AND ((#0 = :zero)))"),
    ("SET #1 = :s ADD #0 :n", "#1 BETWEEN :zero AND :n AND #0 = :zero"),
    ("SET #0 = #0 + :n", "#0 = :zero"),
    ("SET #0 = if_not_exists(#0, :zero) + :n", "attribute_not_exists(#0)"),
    ("ADD count :n SET #0 = :n", "attribute_not_exists(#0)"),
    ("ADD count :n", "attribute_not_exists(id)"),
    ("ADD count :n REMOVE #1", "#1 = :s"),
    ("ADD count :n SET #1 = :n", "size(#0) > :n AND #1 = :s AND NOT #0 = :n"),
]
NOT_GUARDED = [
    ("ADD #0 :n", "#0 < :n"),
    ("ADD #0 :zero", "#0 = :zero"),
    ("ADD #0 :n", "#1 = :zero"),
    ("ADD #0 :n", "#0 = :zero OR #1 = :n"),
    ("ADD #0 :n", "NOT #0 = :zero"),
    ("ADD #0 :n", "NOT (#0 = :zero)"),
    ("ADD #0 :n", "attribute_exists(#0)"),
    ("ADD #0 :n", "#0 <> :zero"),
    ("ADD #0 :n", "attribute_not_exists(#1)"),
    ("ADD count :n SET #1 = :s", "#1 = :s"),
    ("ADD count :n SET #1 = #0", "#1 = :s"),
    ("ADD #0 :n", "#0 BETWEEN :zero AND :n"),
    ("ADD #0 :n", "#0 = :zero ~"),
]


@pytest.mark.parametrize(("expression", "condition"), GUARDED)
def test_an_update_that_makes_its_own_condition_false_cannot_be_made_twice(
    expression: str, condition: str
) -> None:
    assert is_repeatable("UpdateItem", update(expression, condition))


@pytest.mark.parametrize(("expression", "condition"), NOT_GUARDED)
def test_an_update_that_may_leave_its_condition_true_can_be_made_twice(
    expression: str, condition: str
) -> None:
    assert not is_repeatable("UpdateItem", update(expression, condition))


def test_legacy_updates_are_understood() -> None:
    def legacy(action: str, value: t.Any = None) -> dict[str, t.Any]:
        attribute = {"Action": action} | ({"Value": value} if value else {})
        return {"Key": {"id": {"S": "1"}}, "AttributeUpdates": {"a": attribute}}

    assert is_repeatable("UpdateItem", legacy("PUT", {"N": "1"}))
    assert is_repeatable("UpdateItem", legacy("DELETE"))
    assert is_repeatable("UpdateItem", legacy("DELETE", {"SS": ["x"]}))
    assert is_repeatable("UpdateItem", legacy("ADD", {"SS": ["x"]}))
    assert not is_repeatable("UpdateItem", legacy("ADD", {"N": "1"}))
    assert not is_repeatable("UpdateItem", legacy("ADD", {"L": []}))


STATEMENTS_THE_SAME_TWICE = [
    "SELECT * FROM t WHERE id = ?",
    "INSERT INTO t VALUE {'id': '1', 'a': 1}",
    "DELETE FROM t WHERE id = '1'",
    "UPDATE t SET a = 1 WHERE id = '1'",
    "update \"my-table\" set a = ? set b = 'it''s' where id = ?",
    "UPDATE t SET a = 1, b = -2.5 REMOVE c WHERE id = '1'",
    "UPDATE t SET a = {'x': [1, true, ?], 'y': <<'s'>>} WHERE id = '1'",
    "UPDATE t SET a = set_add(a, <<'x'>>) WHERE id = '1'",
    "UPDATE t SET a = set_delete(a, ?) WHERE id = '1' RETURNING ALL NEW *",
    "UPDATE t SET a = b + 1 WHERE id = '1'",
    "UPDATE t SET a = list_append(b, ?) WHERE id = '1'",
    "UPDATE t SET \"a.b\" = a WHERE id = '1'",
    "UPDATE t SET m['x'].y[0] = NULL WHERE id = '1'",
    "UPDATE t SET a = 'a + 1' WHERE id = 'b = b + 1'",
]
STATEMENTS_NOT_THE_SAME_TWICE = [
    "UPDATE t SET a = a + 1 WHERE id = '1'",
    "UPDATE t SET a=a-? WHERE id='1'",
    "UPDATE t SET a = 1 + \"a\" WHERE id = '1'",
    "UPDATE t SET b = 1 SET a = a + 1 WHERE id = '1'",
    "UPDATE t SET a = list_append(a, ?) WHERE id = '1'",
    "UPDATE t SET a = list_append(?, a) WHERE id = '1'",
    "UPDATE t SET m.a = m.a + 1 WHERE id = '1'",
    "UPDATE t SET m['a'] = m.a + 1 WHERE id = '1'",
    "UPDATE t SET a = set_add(b, ?) SET b = 1 WHERE id = '1'",
    "UPDATE t SET l[3] = 1 WHERE id = '1'",
    "UPDATE t REMOVE l[0] WHERE id = '1'",
    "UPDATE t SET a = [b] WHERE id = '1'",
    "UPDATE t a = 1 WHERE id = '1'",
    "UPDATE t SET a = 1 WITH id = '1'",
    "UPDATE t SET a = 'open WHERE id = '1'",
]


@pytest.mark.parametrize("statement", STATEMENTS_THE_SAME_TWICE)
def test_a_statement_that_is_the_same_twice(statement: str) -> None:
    assert is_repeatable("ExecuteStatement", {"Statement": statement})
    assert is_repeatable("BatchExecuteStatement", {"Statements": [{"Statement": statement}]})


@pytest.mark.parametrize("statement", STATEMENTS_NOT_THE_SAME_TWICE)
def test_a_statement_that_is_not_the_same_twice(statement: str) -> None:
    harmless = {"Statement": STATEMENTS_THE_SAME_TWICE[0]}
    statements = [harmless, {"Statement": statement}]
    assert not is_repeatable("ExecuteStatement", {"Statement": statement})
    assert not is_repeatable("BatchExecuteStatement", {"Statements": statements})


@pytest.mark.parametrize(
    "operation", ["PutItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems", "CreateTable"]
)
def test_every_other_write_is_the_same_twice(operation: str) -> None:
    assert is_repeatable(operation, {})


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("#0 = :n", [Fact(("a",), {"N": "1"})]),
        (":n = m.x[2]", [Fact(("m", "x", 2), {"N": "1"})]),
        ("attribute_not_exists (#dotted)", [Fact(("a.b",), None)]),
        (
            "(#0 = :n AND (b = :s AND c > :n))",
            [Fact(("a",), VALUES[":n"]), Fact(("b",), VALUES[":s"])],
        ),
        ("(#0 = :n) AND (b = :s)", [Fact(("a",), VALUES[":n"]), Fact(("b",), VALUES[":s"])]),
        ("#0 IN (:n, :s) and b = :s", [Fact(("b",), VALUES[":s"])]),
        ("begins_with(a, :s)", []),
        ("a = b", []),
        ("a = :n OR b = :n", []),
        ("a = :n AND b = :n OR c = :n", []),
        ("NOT a = :n", []),
        ("a = :unknown", []),
        ("size(a) = :n", []),
        ("a = :n AND", [Fact(("a",), VALUES[":n"])]),
        ("a = :n)", []),
        ("", []),
    ],
)
def test_what_a_condition_demands(condition: str, found: list[Fact]) -> None:
    params = {
        "ConditionExpression": condition,
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": VALUES,
    }
    assert expressions.facts(params) == found


def test_syntax_that_is_unknown_is_an_error() -> None:
    with pytest.raises(UnknownSyntax):
        expressions.changes({"UpdateExpression": "SET a"})


STORED: dict[str, t.Any] = {
    "id": {"S": "1"},
    "a": {"N": "1.0"},
    "b": {"S": "text"},
    "l": {"L": [{"S": "x"}, {"N": "1"}]},
    "map": {"M": {"a": {"N": "1"}}},
    "s": {"SS": ["x", "y"]},
}
MADE = [
    ("SET #0 = :n", "c > :n"),
    ("SET a = :n, b = :s", "c > :n"),
    ("SET l[0] = :x", "c > :n"),
    ("SET #m.a = :n", "c > :n"),
    ("REMOVE c, #m.b", "d = :n"),
    ("ADD s :ss", "d = :n"),
    ("DELETE s :gone", "d = :n"),
    ("DELETE missing :gone", "d = :n"),
    ("ADD a :n", "#0 = :zero"),
    ("ADD a :n", "attribute_not_exists(a)"),
    ("SET b = :s ADD a :n", "#0 = :zero AND b <> :s"),
    ("SET a = a + :n", "a = :zero"),
    ("SET a = :n - a", "a = :zero"),
    ("SET a = if_not_exists(a, :zero) + :n", "attribute_not_exists(a)"),
    ("SET a = if_not_exists(a, :n)", "attribute_not_exists(a)"),
    ("SET b = c", "c = :s"),
]
NOT_MADE = [
    ("SET a = :zero", "c > :n"),
    ("SET a = :n, b = :n", "c > :n"),
    ("SET c = :n", "d = :n"),
    ("SET #m.b = :n", "d = :n"),
    ("SET l[1] = :n", "d = :n"),
    ("SET b.x = :n", "d = :n"),
    ("REMOVE a", "d = :n"),
    ("REMOVE l[7]", "d = :n"),
    ("ADD s :gone", "d = :n"),
    ("ADD missing :ss", "d = :n"),
    ("ADD b :ss", "d = :n"),
    ("DELETE s :ss", "d = :n"),
    ("ADD a :n", "a = :n"),
    ("ADD a :n", "a < :n"),
    ("ADD a :n", "d = :n"),
    ("SET a = a + :n", "a < :n"),
    ("SET a = if_not_exists(a, :n)", "d = :n"),
    ("SET l = list_append(l, :l)", "l = :l"),
    ("SET b = c", "c = :n"),
    ("SET b = c", "attribute_not_exists(c)"),
    ("SET b = :s +", "c = :n"),
]


@pytest.mark.parametrize(("expression", "condition"), MADE)
def test_an_update_that_was_made_is_recognised(expression: str, condition: str) -> None:
    assert is_applied("UpdateItem", with_more_values(update(expression, condition)), STORED)


@pytest.mark.parametrize(("expression", "condition"), NOT_MADE)
def test_an_update_that_was_not_made_or_can_not_be_recognised(
    expression: str, condition: str
) -> None:
    assert not is_applied("UpdateItem", with_more_values(update(expression, condition)), STORED)


def with_more_values(params: dict[str, t.Any]) -> dict[str, t.Any]:
    more = {":x": {"S": "x"}, ":gone": {"SS": ["z"]}}
    return {**params, "ExpressionAttributeValues": {**VALUES, **more}}


def test_numbers_are_compared_as_dynamodb_does() -> None:
    many = "1" * 38
    params = update("ADD a :n", "a = :many")
    params["ExpressionAttributeValues"] = {**VALUES, ":many": {"N": many}}
    assert is_applied("UpdateItem", params, {"id": {"S": "1"}, "a": {"N": f"{int(many) + 1}.0"}})
    assert not is_applied("UpdateItem", params, {"id": {"S": "1"}, "a": {"N": many}})


@pytest.mark.parametrize(
    ("sent", "stored", "is_same"),
    [
        ({"N": "1"}, {"N": "1.00"}, True),
        ({"N": "1E2"}, {"N": "100"}, True),
        ({"N": "1"}, {"S": "1"}, False),
        ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}, True),
        ({"NS": ["1", "2.0"]}, {"NS": ["2", "1"]}, True),
        ({"L": [{"S": "a"}, {"S": "b"}]}, {"L": [{"S": "b"}, {"S": "a"}]}, False),
        ({"M": {"a": {"N": "1"}}}, {"M": {"a": {"N": "1.0"}}}, True),
        ({"M": {"a": {"N": "1"}}}, {"M": {}}, False),
        ({"B": "x"}, {"B": b"x"}, True),
        ({"BS": [bytearray(b"x")]}, {"BS": [b"x"]}, True),
        ({"NULL": True}, {"NULL": True}, True),
        ({"BOOL": False}, {"BOOL": True}, False),
    ],
)
def test_an_item_is_recognised_in_whatever_form(
    sent: dict[str, t.Any], stored: dict[str, t.Any], is_same: bool
) -> None:
    key = {"id": {"S": "1"}}
    params = {"Item": {**key, "a": sent}}
    assert is_applied("PutItem", params, {**key, "a": stored}) is is_same
    assert not is_applied("PutItem", params, {**key, "a": stored, "b": {"N": "1"}})
    assert not is_applied("PutItem", params, None)
