"""Which files an export writes and an import reads."""

from __future__ import annotations

import collections.abc as cabc
import json
import pathlib
import typing as t
import urllib.parse

from .failures import TransferError
from .failures import WrongUsage
from .item_files import Source

_ENDINGS = (".json", ".jsonl", ".ndjson")
_COMPRESSED = ".gz"
PART: t.Final = ".part"
"""What the name of an export ends with until it is complete."""

_OF_S3 = "AWSDynamoDB"
_SUMMARY = "manifest-summary.json"
_FILES = "manifest-files.json"
_OUTPUT_FORMAT = "DYNAMODB_JSON"
_FULL = "FULL_EXPORT"


def targets(path: pathlib.Path, names: cabc.Sequence[str]) -> list[pathlib.Path]:
    """Where to export tables to: one to a file, several into a folder.

    :param path: What the user named. A table goes into a folder that is there.
    :param names: The tables' names, without prefix.
    :return: A file for each table.
    :raises TransferError: if there can't be such files. :class:`WrongUsage` if the user has to
        name another one.
    """
    if len(names) == 1 and not path.is_dir():
        if not path.parent.is_dir():
            raise WrongUsage(f"The folder {path.parent} does not exist. Create it first.")

        return [path]

    if path.exists() and not path.is_dir():
        raise WrongUsage(
            f"{path} is a file, but {len(names)} tables need a folder: {', '.join(names)}. Name a"
            " folder, or one table."
        )

    _check_distinct(names)
    path.mkdir(parents=True, exist_ok=True)
    ending = ".json.gz" if path.suffix == _COMPRESSED else ".json"
    return [path / f"{_file_name(name)}{ending}" for name in names]


def sources(
    path: pathlib.Path, names: cabc.Sequence[str], *, every: cabc.Collection[str]
) -> dict[str, list[Source]]:
    """Where to import tables from.

    :param path: A file, a folder with a file for each table, or a folder of an export to S3.
    :param names: The tables that the user named; none for those that are there.
    :param every: All tables of the app.
    :return: The files of each table that is there.
    :raises TransferError: if it is not clear which file belongs to which table.
    """
    if not path.exists():
        raise WrongUsage(f"{path} does not exist.")

    if not path.is_dir():
        return {_only(path, names, every): [Source(path)]}

    if (export := _export_to_s3(path)) is not None:
        return {_only(path, names, every): _sources_of_export(export)}

    files = _item_files(path)
    by_table = {name: files[_file_name(name)] for name in every if _file_name(name) in files}

    if not by_table:
        name = _only(path, names, every)
        return {name: [Source(file) for file in sorted(files.values())]}

    if missing := [name for name in names if name not in by_table]:
        raise TransferError(f"{path} has no file for {', '.join(map(repr, missing))}.")

    if not names and (other := sorted(set(files.values()) - set(by_table.values()))):
        raise TransferError(
            f"{path} has a file that no table of the app is named after: {other[0].name}. Name the"
            " tables to import, or move it away."
        )

    return {name: [Source(file)] for name, file in by_table.items() if not names or name in names}


def _only(path: pathlib.Path, names: cabc.Sequence[str], every: cabc.Collection[str]) -> str:
    """The one table that items without a table's name are for."""
    wanted = names or list(every)

    if len(wanted) != 1:
        raise WrongUsage(
            f"{path} holds the items of one table. Say which it is: one of"
            f" {', '.join(sorted(wanted))}."
        )

    return wanted[0]


def _item_files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The files of a folder, by their names without ending."""
    files: dict[str, pathlib.Path] = {}

    for file in sorted(folder.iterdir()):
        if file.name.endswith(PART):
            raise TransferError(
                f"{file} is of an export that is not complete. Finish it by the same command, or"
                " move it away."
            )

        stem = _stem(file.name)

        if stem is None:
            continue

        if stem in files:
            raise TransferError(
                f"{folder} has two files of one name, {files[stem].name} and {file.name}. Move one"
                " of them away."
            )

        files[stem] = file

    if not files:
        raise TransferError(f"{folder} has no file named *.json or *.json.gz.")

    return files


def _stem(name: str) -> str | None:
    """A file's name without its ending; ``None`` if it does not hold items."""
    name = name.removesuffix(_COMPRESSED)
    return next((name.removesuffix(each) for each in _ENDINGS if name.endswith(each)), None)


def _file_name(name: str) -> str:
    """A table's name, which may be an ARN, as a file's."""
    return urllib.parse.quote(name, safe="")


def _check_distinct(names: cabc.Iterable[str]) -> None:
    seen: dict[str, str] = {}

    for name in names:
        # Some file systems don't know upper case from lower case.
        other = seen.setdefault(name.casefold(), name)

        if other is not name:
            raise TransferError(
                f"The tables {other!r} and {name!r} would share a file. Export each on its own."
            )


def _export_to_s3(folder: pathlib.Path) -> pathlib.Path | None:
    """The folder with the manifests of DynamoDB's own export to S3, if it is in a folder."""
    # Also "." has a name then.
    name = folder.resolve().name

    if (folder / _SUMMARY).is_file() or (folder / _FILES).is_file():
        return folder

    if name == "data" and (folder / ".." / _FILES).is_file():
        return folder / ".."

    root = folder if name == _OF_S3 else folder / _OF_S3
    exports = sorted(file.parent for file in root.glob(f"*/{_SUMMARY}")) if root.is_dir() else []

    if len(exports) > 1:
        raise TransferError(
            f"{root} holds {len(exports)} exports: {', '.join(each.name for each in exports)}. Name"
            " the folder of one of them."
        )

    return exports[0] if exports else None


def _sources_of_export(folder: pathlib.Path) -> list[Source]:
    _check_summary(folder / _SUMMARY)
    files = [
        Source(_data_file(folder, entry), entry.get("itemCount"), entry.get("md5Checksum"))
        for entry in _json_lines(folder / _FILES)
    ]

    for source in files:
        if not source.path.is_file():
            raise TransferError(
                f"{source.path} is missing, but {folder / _FILES} names it. Download it, too."
            )

    return files


def _data_file(folder: pathlib.Path, entry: dict[str, t.Any]) -> pathlib.Path:
    # Of the key in S3, only the name counts: it must not lead out of the folder.
    return folder / "data" / str(entry.get("dataFileS3Key", "")).rpartition("/")[2]


def _check_summary(path: pathlib.Path) -> None:
    summary = _json_lines(path)[0] if path.is_file() else {}
    output_format = summary.get("outputFormat", _OUTPUT_FORMAT)
    export_type = summary.get("exportType") or _FULL

    if output_format != _OUTPUT_FORMAT:
        raise TransferError(
            f"{path}: the export has the format {output_format}. Only {_OUTPUT_FORMAT} can be"
            " imported: export the table again in that format."
        )

    if export_type != _FULL:
        raise TransferError(
            f"{path}: it is an incremental export, which holds changes and not items. Only full"
            " exports can be imported."
        )


def _json_lines(path: pathlib.Path) -> list[dict[str, t.Any]]:
    """The objects of a manifest: one, which may be on several lines, or one on each line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise TransferError(f"{path} can't be read ({error}). Download it again.") from error

    try:
        return [_object(json.loads(text))]
    except ValueError:
        pass

    entries: list[dict[str, t.Any]] = []

    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                entries.append(_object(json.loads(line)))
            except ValueError as error:
                raise TransferError(f"{path}, line {number}: not a JSON object.") from error

    if not entries:
        raise TransferError(f"{path} is empty. Download it again.")

    return entries


def _object(value: t.Any) -> dict[str, t.Any]:
    if not isinstance(value, dict):
        raise ValueError

    return t.cast("dict[str, t.Any]", value)
