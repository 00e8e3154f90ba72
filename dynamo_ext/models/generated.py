"""Functions that are generated for one class: straight-line code instead of a loop over a plan.

The source names attributes, types and what to call by number, so that no name of the app is ever
part of it. Classes of the same shape share their compiled code.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import types
import typing as t


def function(name: str, lines: list[str], values: dict[str, t.Any]) -> t.Any:
    """Compile a function.

    :param name: Its name.
    :param lines: Its source.
    :param values: What the source refers to, by name.
    """
    # Whoever asks where the function is from finds this module.
    namespace: dict[str, t.Any] = {"__name__": __name__, **values}
    exec(_compiled(name, "\n".join(lines)), namespace)
    return namespace[name]


def indented(depth: int, lines: cabc.Iterable[str]) -> cabc.Iterator[str]:
    """Lines of source inside of others.

    :param depth: In how many others.
    :param lines: The lines.
    """
    return (f"{'    ' * depth}{line}" for line in lines)


@functools.lru_cache(maxsize=1024)
def _compiled(name: str, source: str) -> types.CodeType:
    return compile(source, f"<dynamo_ext: generated {name}>", "exec")
