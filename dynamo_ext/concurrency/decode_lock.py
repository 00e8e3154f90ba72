"""Decoding many items, one thread at a time.

Decoding needs the interpreter's lock all the while. Ten workers that decode at once make an event
loop wait for each of them in turn; if they decode one after the other, and each lets others run
between a few items, it waits for a few items. Nothing is lost by that: they can't decode in
parallel anyway.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import os
import threading
import time
import typing as t

from . import waiting

A = t.TypeVar("A")
B = t.TypeVar("B")

_MANY_ITEMS = 8
_LONGEST_STRETCH = 0.0003
# A turn is worth little. Whoever has it may, in a method of the app's own, wait for one who waits
# for it: so nobody waits for long.
_LONGEST_WAIT = 0.1

_turn = threading.Lock()


class _OfThread(threading.local):
    """What the current thread has."""

    is_kept = False
    turn: threading.Lock | None = None


_mine = _OfThread()


@contextlib.contextmanager
def taken() -> cabc.Generator[None]:
    """Decode in this block while no other thread does, as a rule."""
    if _mine.turn is not None or waiting.are_shared():
        yield
        return

    turn = _turn
    has_turn = turn.acquire(timeout=_LONGEST_WAIT)

    try:
        yield
    finally:
        if has_turn and _mine.is_kept:
            _mine.turn = turn
        elif has_turn:
            turn.release()


@contextlib.contextmanager
def kept() -> cabc.Generator[None]:
    """Keep a turn that is taken in this block until the end of the block.

    What one step of decoding makes is then at hand for the next one, and is not kept waiting, with
    that of every other thread, for the next turn.
    """
    if _mine.is_kept:
        yield
        return

    _mine.is_kept = True

    try:
        yield
    finally:
        _mine.is_kept = False
        give_back()


def give_back() -> None:
    """Give back a turn that is kept: there is a wait ahead."""
    if (turn := _mine.turn) is not None:
        _mine.turn = None
        turn.release()


def each(function: cabc.Callable[[A], B], items: list[A]) -> list[B]:
    """Call a function with each item, in a turn if they are many.

    :param function: Decodes an item.
    :param items: The items. The list is emptied meanwhile: an item goes when it is decoded, so that
        the garbage collector never finds all of them beside all that was made of them.
    :return: What it returned, in order.
    """
    items.reverse()

    if len(items) <= _MANY_ITEMS or waiting.are_shared():
        return [function(items.pop()) for _ in range(len(items))]

    decoded: list[B] = []

    with taken():
        start = time.perf_counter()

        while items:
            decoded.append(function(items.pop()))

            if time.perf_counter() - start > _LONGEST_STRETCH:
                time.sleep(0)
                start = time.perf_counter()

    return decoded


def _after_fork_in_child() -> None:
    global _turn
    # The thread that had it is not in the child.
    _turn = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
