"""Finds where the app's code calls this project, however many frames are in between."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import types
import typing as t
import warnings

_LIBRARIES = ("dynamo_ext", "dynamo_ext_async", "pynamodb", "contextlib")
# Where these are not installed but checked out beside the app, their folder does not tell.
_NOT_OF_APPS = frozenset(
    {
        *_LIBRARIES,
        "aiologic",
        "anyio",
        "asgiref",
        "blinker",
        "botocore",
        "click",
        "flask",
        "greenlet",
        "jinja2",
        "quart",
        "quart_trio",
        "trio",
        "urllib3",
        "werkzeug",
    }
)
_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
_AWAITED = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR
_ENTERED_BY_HAND = {"<stdin>", "<string>"}
# By a frame's file. A process has as many entries as files whose code has made calls.
_known_files: dict[str, bool] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """A place in the app's code: of Python, or of a template of Jinja."""

    file: str
    """The path of the file."""

    line: int
    """The number of the line."""

    function: str
    """The name of the function that has the line; of a template, ``template``."""

    module: str = dataclasses.field(default="", repr=False)
    """The name of the module, which filters of warnings can match."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


def find() -> Location | None:
    """The innermost place in the app's own code that leads to the caller.

    Neither the standard library nor what is installed counts, nor the frameworks, wherever they
    are.

    :return: The place; ``None`` if there is none in this thread or task.
    """
    # For each call in debug mode: no traceback is made, and no file is read.
    frame, is_in_task = inspect.currentframe(), False

    while frame is not None:
        code = frame.f_code
        flags = code.co_flags

        if flags & _AWAITED:
            is_in_task = True
        elif is_in_task and not flags & inspect.CO_GENERATOR:
            # Behind a task's own frames are those of whoever runs the event loop.
            return None

        if _known_files.get(code.co_filename) is not False and (location := location_of(frame)):
            return location

        # Behind it are the server and the app's middlewares, which make no call of the app's views.
        if code.co_name == "wsgi_app" and frame.f_globals.get("__name__") == "flask.app":
            return None

        frame = frame.f_back

    return None


def location_of(frame: types.FrameType) -> Location | None:
    """The place at which a frame is; ``None`` if it is not in the app's own code.

    :param frame: The frame.
    """
    code = frame.f_code
    is_of_app = _known_files.get(code.co_filename)

    if is_of_app is None:
        module = frame.f_globals.get("__name__", "")
        is_of_app = _known_files[code.co_filename] = _is_of_app(code.co_filename, module)

    if not is_of_app:
        return None

    template: t.Any = frame.f_globals.get("__jinja_template__")

    if template is not None:
        line = template.get_corresponding_lineno(frame.f_lineno)
        return Location(code.co_filename, line, "template")

    module = frame.f_globals.get("__name__", "")
    return _location(code.co_filename, frame.f_lineno, code.co_qualname, module)


# The same places make calls again and again.
@functools.lru_cache(maxsize=1024)
def _location(file: str, line: int, qualified_name: str, module: str) -> Location:
    return Location(file, line, _function(qualified_name), module)


def _is_of_app(file: str, module: str) -> bool:
    if module.partition(".")[0] in _NOT_OF_APPS:
        return False

    # What dataclasses and the like have made has such a name, too, but not in the main module.
    if file.startswith("<"):
        return module == "__main__" and file in _ENTERED_BY_HAND

    return not file.startswith(_STANDARD_LIBRARY) and _INSTALLED.isdisjoint(
        file.replace("\\", "/").split("/")
    )


def _function(qualified_name: str) -> str:
    """The name of a function; for a comprehension or a lambda, of the one around it."""
    names = qualified_name.split(".")
    return next((name for name in reversed(names) if not name.startswith("<")), names[-1])


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
