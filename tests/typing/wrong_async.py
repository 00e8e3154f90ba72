"""Mistakes in code that awaits, each with what type checkers must say about it."""

from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection

from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB

db = PynamoDB()


class Todo(Model):
    class Meta:
        table_name = "todo"

    class ByOwner(GlobalSecondaryIndex["Todo"]):
        class Meta:
            projection = AllProjection()

        owner = UnicodeAttribute(hash_key=True)

    id = UnicodeAttribute(hash_key=True)
    by_owner = ByOwner()


class Other(Model):
    class Meta:
        table_name = "other"

    id = UnicodeAttribute(hash_key=True)


class NotAsync(Model):
    async def asave(self) -> None:  # error: override # strict: reportIncompatibleMethodOverride
        return None


def double(number: int) -> int:
    return 2 * number


async def extension() -> None:
    await db.run_sync(double, "2")  # error: arg-type, reportArgumentType
    await db.run_sync(double)  # error: call-arg, reportCallIssue
    await db.run_sync(double, nubmer=2)  # error: call-arg, reportCallIssue
    await db.aping(timeout="2")  # error: arg-type, reportArgumentType
    await db.ping()  # error: misc, func-returns-value, reportGeneralTypeIssues
    text: str = await db.run_sync(double, 2)  # error: arg-type, reportAssignmentType
    print(text)


async def model(todo: Todo) -> None:
    await Todo.aget()  # error: call-arg, reportCallIssue
    await Todo.aget("1", consistnt_read=True)  # error: call-arg, reportCallIssue
    await Todo.aget_or_404("1", mesage="No such to-do.")  # error: call-arg, reportCallIssue
    await Todo.aget("1", attributes_to_get=1)  # error: arg-type, reportArgumentType
    await Todo.aquery("1")  # error: misc, reportGeneralTypeIssues
    await todo.asave(True)  # error: arg-type, reportArgumentType
    await todo.aupdate(Todo.id.set("1"))  # error: arg-type, reportArgumentType
    todo.adelete()  # error: unused-coroutine, reportUnusedCoroutine
    Todo.aget("1").id  # error: attr-defined, reportAttributeAccessIssue
    other: Other = await Todo.aget("1")  # error: assignment, reportAssignmentType
    count: str = await Todo.acount()  # error: assignment, reportAssignmentType
    print(other, count)

    for _ in Todo.ascan():  # error: attr-defined, reportGeneralTypeIssues
        break

    async for item in Todo.ascan(limit="3"):  # error: arg-type, reportArgumentType
        print(item.tilte)  # error: attr-defined, reportAttributeAccessIssue

    async for item in Todo.aparallel_scan("4"):  # error: arg-type, reportArgumentType
        print(item.id.real)  # error: attr-defined, reportAttributeAccessIssue


async def indexes() -> None:
    Todo.by_owner.aquery()  # error: call-arg, reportCallIssue
    Todo.by_owner.aquery("me", indx="by-owner")  # error: call-arg, reportCallIssue
    await Todo.by_owner.acount("me", limit="3")  # error: arg-type, reportArgumentType

    async for todo in Todo.by_owner.ascan():
        other: Other = todo  # error: assignment, reportAssignmentType
        print(other)


async def batches_and_transactions(todo: Todo, other: Other) -> None:
    with Todo.abatch_write():  # error: attr-defined, reportGeneralTypeIssues
        pass

    async with Todo.abatch_write() as writes:
        await writes.save(other)  # error: arg-type, reportArgumentType
        writes.pending_operations = []  # error: misc, reportAttributeAccessIssue

    async with db.atransact_get() as reading:
        future = reading.get(Todo, "1")

    text: str = future.get()  # error: assignment, reportAssignmentType

    async with db.atransact_write() as writing:
        writing.save(1)  # error: arg-type, reportArgumentType
        await writing.save(todo)  # error: misc, func-returns-value, reportGeneralTypeIssues

    print(text)
