"""Tables as Terraform resources, in HCL."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import re
import typing as t

from ..config.settings import PROVISIONED
from .definition import HASH
from .definition import Definition
from .definition import Index
from .definition import KeyAttribute

_NOT_IN_LABELS = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}

Value = str | int | bool | list[str] | dict[str, str]


@dataclasses.dataclass
class _Block:
    """A block of HCL."""

    head: str
    arguments: dict[str, Value] = dataclasses.field(default_factory=dict[str, Value])
    blocks: list[_Block] = dataclasses.field(default_factory=list["_Block"])

    def lines(self) -> cabc.Iterator[str]:
        """The block as ``terraform fmt`` has it."""
        yield f"{self.head} {{"
        yield from _indented(self._argument_lines())

        for number, block in enumerate(self.blocks):
            if number or self.arguments:
                yield ""

            yield from _indented(block.lines())

        yield "}"

    def _argument_lines(self) -> cabc.Iterator[str]:
        single = {
            name: _expression(value) for name, value in self.arguments.items() if _is_single(value)
        }
        width = max(map(len, single), default=0)
        yield from (f"{name:{width}} = {value}" for name, value in single.items())

        for name, value in self.arguments.items():
            if isinstance(value, dict):
                if single:
                    yield ""

                yield from _map_lines(name, value)


def render(definitions: cabc.Iterable[Definition]) -> str:
    """The resources. Terraform refuses to destroy them.

    :param definitions: The tables.
    """
    taken: set[str] = set()
    blocks: list[_Block] = []

    for definition in definitions:
        label = _label(definition.name, taken)
        taken.add(label)
        blocks.append(_table(label, definition))

    return "\n\n".join("\n".join(block.lines()) for block in blocks)


def _table(label: str, definition: Definition) -> _Block:
    is_provisioned = definition.billing_mode == PROVISIONED
    arguments: dict[str, Value] = {
        "name": definition.name,
        "billing_mode": definition.billing_mode,
        **_key_arguments(definition.keys),
    }

    if is_provisioned:
        arguments |= _capacity_arguments(definition.capacity.read, definition.capacity.write)

    if definition.stream is not None:
        arguments |= {"stream_enabled": True, "stream_view_type": definition.stream}

    if definition.deletion_protection is not None:
        arguments["deletion_protection_enabled"] = definition.deletion_protection

    if definition.tags:
        arguments["tags"] = dict(definition.tags)

    return _Block(
        f"resource {_quoted('aws_dynamodb_table')} {_quoted(label)}",
        arguments,
        [*_blocks(definition, is_provisioned=is_provisioned)],
    )


def _blocks(definition: Definition, *, is_provisioned: bool) -> cabc.Iterator[_Block]:
    for name, kind in definition.attribute_types.items():
        yield _Block("attribute", {"name": name, "type": kind})

    for index in definition.global_indexes.values():
        arguments = {"name": index.name, **_key_arguments(index.keys), **_projection(index)}

        if is_provisioned:
            arguments |= _capacity_arguments(index.capacity.read, index.capacity.write)

        yield _Block("global_secondary_index", arguments)

    for index in definition.local_indexes.values():
        keys = _key_arguments(index.keys)
        keys.pop("hash_key")
        yield _Block("local_secondary_index", {"name": index.name, **keys, **_projection(index)})

    if definition.ttl is not None:
        yield _Block("ttl", {"attribute_name": definition.ttl, "enabled": True})

    if definition.point_in_time_recovery is not None:
        yield _Block("point_in_time_recovery", {"enabled": definition.point_in_time_recovery})

    yield _Block("lifecycle", {"prevent_destroy": True})


def _key_arguments(keys: cabc.Iterable[KeyAttribute]) -> dict[str, Value]:
    return {"hash_key" if key.kind == HASH else "range_key": key.attribute for key in keys}


def _projection(index: Index) -> dict[str, Value]:
    names: dict[str, Value] = (
        {"non_key_attributes": sorted(index.projected)} if index.projected else {}
    )
    return {"projection_type": index.projection, **names}


def _capacity_arguments(read: int | None, write: int | None) -> dict[str, Value]:
    return {"read_capacity": t.cast(int, read), "write_capacity": t.cast(int, write)}


def _is_single(value: Value) -> bool:
    return not isinstance(value, dict)


def _map_lines(name: str, value: cabc.Mapping[str, str]) -> cabc.Iterator[str]:
    width = max(len(_quoted(key)) for key in value)
    yield f"{name} = {{"
    yield from _indented(f"{_quoted(key):{width}} = {_quoted(text)}" for key, text in value.items())
    yield "}"


def _expression(value: Value) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list():
            return f"[{', '.join(map(_quoted, value))}]"
        case _:
            return _quoted(str(value))


def _quoted(text: str) -> str:
    """A string literal, in which ``${`` and ``%{`` would begin a template."""
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    return f'"{escaped.replace("${", "$${").replace("%{", "%%{")}"'


def _indented(lines: cabc.Iterable[str]) -> cabc.Iterator[str]:
    return (f"  {line}" if line else "" for line in lines)


def _label(name: str, taken: cabc.Container[str]) -> str:
    """A label of HCL that no other table of the file has."""
    wanted = _NOT_IN_LABELS.sub("_", name)
    wanted = wanted if wanted[:1].isalpha() or wanted[:1] == "_" else f"_{wanted}"
    found, number = wanted, 1

    while found in taken:
        number += 1
        found = f"{wanted}_{number}"

    return found
