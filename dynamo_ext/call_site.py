"""Where the user's code calls ours, however deep below it something arises."""

from __future__ import annotations

import inspect
import types
import typing as t
import warnings

_NOT_THE_USER = ("dynamo_ext", "dynamo_ext_async", "pynamodb", "contextlib")


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line that is neither ours nor PynamoDB's.

    :param message: The text.
    :param category: The kind of warning.
    """
    # One level for this function itself.
    warnings.warn(message, category, stacklevel=len(_frames_inside()) + 1)


def called_by_user() -> str:
    """The name of the function, ours or PynamoDB's, that the user's code called."""
    return _frames_inside()[-1].f_code.co_name


def _frames_inside() -> list[types.FrameType]:
    """The frames between the caller of this module and the user's code, innermost first."""
    frame: types.FrameType | None = t.cast(types.FrameType, inspect.currentframe())
    frames: list[types.FrameType] = []

    while frame is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frames.append(frame)
        frame = frame.f_back

    return frames[1:]


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] in _NOT_THE_USER
