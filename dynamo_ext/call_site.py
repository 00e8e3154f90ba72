"""Finds where the app's code calls this project, however many frames are in between."""

from __future__ import annotations

import inspect
import types
import typing as t
import warnings

_LIBRARIES = ("dynamo_ext", "dynamo_ext_async", "pynamodb", "contextlib")


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning that points to the app's line: the innermost one outside the libraries.

    :param message: The text.
    :param category: The class of the warning.
    """
    # One level more, for this function itself.
    warnings.warn(message, category, stacklevel=len(_library_frames()) + 1)


def called_functions() -> list[str]:
    """Find the functions, of this project or of PynamoDB, that are being called.

    :return: Their names. The first one was called by the app's code.
    """
    return [frame.f_code.co_name for frame in reversed(_library_frames())]


def _library_frames() -> list[types.FrameType]:
    """The frames between the caller of this module and the app's code, innermost first."""
    frame: types.FrameType | None = t.cast(types.FrameType, inspect.currentframe())
    frames: list[types.FrameType] = []

    while frame is not None and _is_of_library(frame.f_globals.get("__name__", "")):
        frames.append(frame)
        frame = frame.f_back

    return frames[1:]


def _is_of_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES
