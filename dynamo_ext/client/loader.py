"""botocore's data files, read once for all clients, and no more of them than a client needs."""

from __future__ import annotations

import collections.abc as cabc
import functools
import gzip
import json
import os
import typing as t

import botocore.loaders
from botocore.exceptions import DataNotFoundError

# The file with the endpoints of all services.
_ENDPOINTS = "endpoints"


@functools.lru_cache(maxsize=4)
def shared_loader(data_path: str | None) -> botocore.loaders.Loader:
    """The loader that all engines share.

    To read and parse these files is most of the work of creating a client, and botocore's sessions
    share nothing. Clients only read what a loader returns: those of one session share it, too.

    :param data_path: Where else to look for data files; the setting of that name of botocore.
    """
    paths = data_path.split(os.pathsep) if data_path else []
    expanded = [os.path.expanduser(os.path.expandvars(path)) for path in paths]
    return _Loader(expanded, file_loader=_Files())


class _Loader(botocore.loaders.Loader):
    """A loader that finds out whether a service is there without looking at all others."""

    if not t.TYPE_CHECKING:

        def list_available_services(self, type_name: str) -> cabc.Sequence[str]:
            return _Services(self, super().list_available_services, type_name)


class _Services(cabc.Sequence[str]):
    """The names of the services that have data of one type, sorted.

    botocore looks into the folders of some 400 services to learn whether one of them is there.

    :param loader: The loader.
    :param list_all: The loader's own way to list them.
    :param type_name: The type of the data.
    """

    def __init__(
        self,
        loader: botocore.loaders.Loader,
        list_all: cabc.Callable[[str], list[str]],
        type_name: str,
    ) -> None:
        self._loader = loader
        self._list_all = list_all
        self._type_name = type_name

    def __contains__(self, name: object) -> bool:
        try:
            return bool(self._loader.list_api_versions(t.cast(str, name), self._type_name))
        except DataNotFoundError:
            return False

    @t.overload
    def __getitem__(self, index: int) -> str: ...
    @t.overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._all()[index]

    def __iter__(self) -> cabc.Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> list[str]:
        return self._list_all(self._type_name)


class _Files(botocore.loaders.JSONFileLoader):
    """Reads files as plain dictionaries, which need half the time and the memory of ordered ones,
    and are ordered as well."""

    def load_file(self, file_path: str) -> t.Any:
        for suffix, open_file in ((".json", open), (".json.gz", gzip.open)):
            try:
                with open_file(file_path + suffix, "rb") as file:
                    content = file.read()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue

            parse = _endpoints if os.path.basename(file_path) == _ENDPOINTS else _from_json
            return parse(content)

        return None


def _from_json(content: t.Any) -> t.Any:
    """Parse JSON, bytes or what msgspec has left of them: by msgspec where that is installed, in
    two thirds of the time."""
    try:
        import msgspec

        return msgspec.json.decode(content)
    except Exception:
        # A file of the user's may have what only Python's parser accepts.
        return json.loads(bytes(content))


def _endpoints(content: bytes) -> t.Any:
    """Parse botocore's table of endpoints: of some 400 services those that are asked for, where
    msgspec is installed."""
    try:
        import msgspec

        def split(content: t.Any, kind: t.Any = dict[str, msgspec.Raw]) -> t.Any:
            return msgspec.json.decode(content, type=kind)

        def parsed(members: t.Any, **otherwise: cabc.Callable[[t.Any], t.Any]) -> t.Any:
            return {name: otherwise.get(name, _from_json)(value) for name, value in members.items()}

        def partition(members: t.Any) -> t.Any:
            return parsed(members, services=lambda content: _ParsedWhenAsked(split(content)))

        def partitions(content: t.Any) -> t.Any:
            return [*map(partition, split(content, list[dict[str, msgspec.Raw]]))]

        return parsed(split(content), partitions=partitions)
    except Exception:
        return _from_json(content)


class _ParsedWhenAsked(cabc.Mapping[str, t.Any]):
    """Values of JSON, each of which is parsed when it is asked for.

    :param unparsed: The JSON of each, as msgspec keeps it.
    """

    def __init__(self, unparsed: dict[str, t.Any]) -> None:
        self._unparsed = unparsed
        self._parsed: dict[str, t.Any] = {}

    def __getitem__(self, name: str) -> t.Any:
        if name not in self._parsed:
            self._parsed[name] = _from_json(self._unparsed[name])

        return self._parsed[name]

    def __contains__(self, name: object) -> bool:
        return name in self._unparsed

    def __iter__(self) -> cabc.Iterator[str]:
        return iter(self._unparsed)

    def __len__(self) -> int:
        return len(self._unparsed)
