"""``local://`` and ``local:///file``: hosts that are embedded engines.

The path of a file is written as in Flask-SQLAlchemy: ``local:///todo.db`` is in the app's instance
folder, ``local:////srv/todo.db`` and, on Windows, ``local:///C:/todo.db`` are absolute.
"""

from __future__ import annotations

import os
import pathlib

LOCAL = "local://"
_OF_FILES = "local:///"


def is_embedded(host: str | None) -> bool:
    """Whether a host is an embedded engine.

    :param host: A host that was checked.
    """
    return host is not None and host.startswith(LOCAL)


def path_of(host: str | None) -> str | None:
    """The path of the file that a host names.

    :param host: A host that was checked.
    :return: The path, which may be relative; ``None`` if the host names no file.
    """
    if host is None or not host.startswith(_OF_FILES):
        return None

    return host.removeprefix(_OF_FILES)


def fault_of(host: str) -> str | None:
    """What is wrong with a host that begins with ``local://``, as the rest of a message.

    :param host: The host.
    :return: The text; ``None`` if nothing is wrong.
    """
    path = path_of(host)

    if host == LOCAL:
        return None

    if path is None:
        return ": the path of a file follows three slashes, as in 'local:///todo.db'."

    if not path or path.endswith(("/", "\\")):
        return ": the name of a file must follow, as in 'local:///todo.db'."

    if not path.isprintable() or "?" in path or "#" in path:
        return ": the name of a file is taken as it is, and holds no '?', '#' or line break here."

    if os.path.isabs(path) and not os.path.isdir(os.path.dirname(path)):
        return f": there is no folder {os.path.dirname(path)!r}."

    return None


def resolve(host: str | None, instance_path: str) -> str | None:
    """Make two hosts that name the same file equal.

    :param host: A host that was checked.
    :param instance_path: The folder for relative paths. It is created if a path needs it.
    :return: The host. If it names a file, it has the file's real, absolute path.
    """
    path = path_of(host)

    if path is None:
        return host

    if not os.path.isabs(path):
        os.makedirs(instance_path, exist_ok=True)

    return _OF_FILES + pathlib.Path(os.path.realpath(os.path.join(instance_path, path))).as_posix()
