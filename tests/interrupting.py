"""Interrupts our code at each point where a signal handler may run, and raise."""

from __future__ import annotations

import collections.abc as cabc
import dis
import pathlib
import sys
import types
import typing as t

import dynamo_ext

_OURS = str(pathlib.Path(dynamo_ext.__file__).parent)


class Interruption(BaseException):
    """What the signal handler raises, as Celery's soft time limit does."""


def everywhere(function: cabc.Callable[[], object], *, stride: int = 1) -> cabc.Iterator[int]:
    """Call a function again and again, each time interrupted one point later.

    The interpreter runs signal handlers at the start of a function, after a call and before it
    jumps back in a loop. Points in modules of ours count. The last call is not interrupted.

    :param function: The function.
    :param stride: From how many points one is used.
    :return: The number of the point, after each call that was interrupted.
    """
    number = 0

    while _is_interrupted(function, number):
        yield number
        number += stride


def _is_interrupted(function: cabc.Callable[[], object], number: int) -> bool:
    left = number
    last_operation: dict[types.FrameType, str] = {}

    def trace(frame: types.FrameType, event: str, argument: t.Any) -> t.Any:
        nonlocal left

        if not frame.f_code.co_filename.startswith(_OURS):
            return None

        frame.f_trace_opcodes = True

        if event == "opcode":
            name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            last = last_operation.get(frame, "")
            last_operation[frame] = name

            # A call that has raised is none of these points.
            returned = last.startswith("CALL") and name != "PUSH_EXC_INFO"

            if returned or name == "RESUME" or name.startswith("JUMP_BACKWARD"):
                if not left:
                    sys.settrace(None)
                    raise Interruption

                left -= 1
        elif event == "return":
            last_operation.pop(frame, None)

        return trace

    before = sys.gettrace()
    sys.settrace(trace)

    try:
        function()
    except Interruption:
        return True
    finally:
        sys.settrace(before)
        # Frames hold what their functions had.
        last_operation.clear()

    return False
