"""Decoding many items: one thread at a time, and never for the price of a deadlock."""

from __future__ import annotations

import concurrent.futures
import threading
import typing as t
import weakref

import botocore.session
import pytest

from conftest import RunPython
from dynamo_ext.calls.retry import Damaged
from dynamo_ext.concurrency import decode_lock
from dynamo_ext.transport import parser

pytestmark = pytest.mark.once(reason="no call is sent")

DEADLINE = 100

# As in a worker: where a call is made, the lock is kept.
decode_each: t.Any = decode_lock.kept()(decode_lock.decode_each)


def test_items_come_out_in_order() -> None:
    for count in (0, 1, 8, 9, 100):
        assert decode_each(str, [*range(count)]) == [str(number) for number in range(count)]


@pytest.mark.parametrize("count", [8, 9])
def test_an_item_goes_when_it_is_decoded(count: int) -> None:
    # Else the garbage collector finds all items beside all models, and has twice the work.
    class Item:
        pass

    items = [Item() for _ in range(count)]
    seen = [weakref.ref(item) for item in items]

    def decode(item: Item) -> int:
        return sum(reference() is not None for reference in seen)

    assert decode_each(decode, items) == [*range(count, 0, -1)]
    assert not items


def test_an_error_ends_the_turn() -> None:
    def fail(item: int) -> t.NoReturn:
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        decode_each(fail, [*range(20)])

    assert not decode_lock._lock.get().is_taken


def test_threads_decode_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_lock, "_LONGEST_WAIT_SECONDS", DEADLINE)
    monkeypatch.setattr(decode_lock, "_SECONDS_WITHOUT_PAUSE", 0)
    decoding: set[int] = set()
    together: list[int] = []

    def decode(item: int) -> None:
        decoding.add(threading.get_ident())
        together.append(len(decoding))

        if item == 19:
            decoding.clear()

    barrier = threading.Barrier(4)

    def decode_all() -> None:
        barrier.wait(DEADLINE)
        decode_each(decode, [*range(20)])

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(decode_all) for _ in range(4)]:
            future.result(DEADLINE)

    assert together == [1] * 80


def test_few_items_wait_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_lock, "_LONGEST_WAIT_SECONDS", DEADLINE)

    with decode_lock.held(), concurrent.futures.ThreadPoolExecutor(1) as threads:
        assert threads.submit(decode_each, str, [*range(8)]).result(DEADLINE / 2) == [*"01234567"]


def test_nobody_waits_where_the_lock_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_lock, "_LONGEST_WAIT_SECONDS", DEADLINE)

    with concurrent.futures.ThreadPoolExecutor() as threads, decode_lock.held():
        decoded = threads.submit(decode_lock.decode_each, str, [*range(20)])
        assert len(decoded.result(DEADLINE / 2)) == 20


def test_whoever_waits_for_another_that_decodes_is_not_stuck() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as threads:

        def decode(item: int) -> list[str]:
            return (
                threads.submit(decode_each, str, [*range(20)]).result(DEADLINE) if not item else []
            )

        assert len(decode_each(decode, [*range(20)])[0]) == 20


def test_a_turn_is_kept_until_the_end_of_the_block() -> None:
    with decode_lock.kept():
        assert not decode_lock._lock.get().is_taken

        with decode_lock.held():
            pass

        assert decode_lock._lock.get().is_taken
        assert decode_each(str, [*range(20)]) == [str(number) for number in range(20)]
        assert decode_lock._lock.get().is_taken

    assert not decode_lock._lock.get().is_taken

    with decode_lock.held():
        assert decode_lock._lock.get().is_taken

    assert not decode_lock._lock.get().is_taken


def test_a_block_in_a_block_does_not_end_the_turn() -> None:
    with decode_lock.kept(), decode_lock.held():
        with decode_lock.kept(), decode_lock.held():
            pass

        assert decode_lock._lock.get().is_taken

    assert not decode_lock._lock.get().is_taken


def test_a_turn_that_is_kept_ends_with_an_error() -> None:
    with pytest.raises(ValueError, match="an error"), decode_lock.kept():
        with decode_lock.held():
            pass

        raise ValueError("an error")

    assert not decode_lock._lock.get().is_taken


def test_a_turn_that_is_kept_may_be_given_back_before() -> None:
    with decode_lock.kept():
        with decode_lock.held():
            pass

        decode_lock.release()
        assert not decode_lock._lock.get().is_taken

        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            hold = threads.submit(decode_lock._lock.get().take, DEADLINE).result(DEADLINE)

    assert decode_lock._lock.get().is_taken
    assert hold is not None
    hold.release()


def test_whoever_did_not_get_a_turn_does_not_end_that_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode_lock, "_LONGEST_WAIT_SECONDS", 0.001)

    def decode() -> None:
        with decode_lock.kept(), decode_lock.held():
            pass

    with decode_lock.held():
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            threads.submit(decode).result(DEADLINE)

        assert decode_lock._lock.get().is_taken


def test_no_turn_is_kept_over_the_wait_after_a_damaged_reply() -> None:
    shape = botocore.session.get_session().get_service_model("dynamodb").operation_model("Query")
    response = {"status_code": 200, "headers": {}, "body": b"{" * 20_000, "context": {}}

    with decode_lock.kept():
        content = parser.Parser().parse(response, t.cast(t.Any, shape).output_shape)
        assert isinstance(content, Damaged)
        assert not decode_lock._lock.get().is_taken


def test_a_child_does_not_wait_for_a_turn_that_its_parent_has(run_warm_python: RunPython) -> None:
    code = """
import os

from dynamo_ext.concurrency import decode_lock

with decode_lock.kept(), decode_lock.held():
    if not (pid := os.fork()):
        os._exit(decode_lock._lock.get().is_taken)

    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    done = run_warm_python(code)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_items_that_are_decoded_together_come_out_in_order() -> None:
    parts: list[int] = []

    def decode(items: list[int]) -> list[str]:
        parts.append(len(items))
        decoded = [str(item) for item in items]
        items.clear()
        return decoded

    def decode_all(count: int) -> list[int]:
        parts.clear()
        items = [*range(count)]
        expected = [str(number) for number in range(count)]
        assert decode_lock.decode_parts(decode, items) == expected
        assert not items
        return [*parts]

    assert decode_all(300) == [300]

    with decode_lock.kept():
        assert decode_all(128) == [128]
        assert decode_all(300) == [128, 128, 44]
