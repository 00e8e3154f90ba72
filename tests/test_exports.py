"""Every class that a documented signature shows can be imported from the package itself."""

from __future__ import annotations

import collections.abc as cabc
import importlib
import inspect
import pathlib
import pkgutil
import re
import types
import typing as t

import pytest

import dynamo_ext
import dynamo_ext_async

pytestmark = pytest.mark.once(reason="signatures are read")

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "api.md"
PACKAGES = {"dynamo_ext": dynamo_ext, "dynamo_ext_async": dynamo_ext_async}
# Of a class: its full name, its options, and the members that are listed, where not all are.
_DIRECTIVE = re.compile(
    r"^\.\. auto(?:class|exception):: (?P<package>\w+)\.(?P<name>\w+)(?:\(\))?$"
    r"(?P<options>(?:\n   :.*)*)",
    flags=re.MULTILINE,
)


def documented() -> cabc.Iterator[tuple[str, str, str]]:
    """Package, class and options, as the page of the API names them."""
    for found in _DIRECTIVE.finditer(PAGE.read_text(encoding="utf-8")):
        yield found["package"], found["name"], found["options"]


def own_classes() -> dict[str, set[type]]:
    """All classes of this project, by their names."""
    classes: dict[str, set[type]] = {}

    for package in PACKAGES.values():
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith("dynamo_ext.local."):
                for name, value in vars(importlib.import_module(module.name)).items():
                    if inspect.isclass(value) and value.__module__.startswith("dynamo_ext"):
                        classes.setdefault(name, set()).add(value)

    return classes


def shown_names(kind: type, options: str) -> set[str]:
    """The names in the annotations of a class's documented members."""
    listed = re.search(r":members: *(.*)", options)

    if listed is None:
        return set()

    names = [name.strip() for name in listed[1].split(",") if name.strip()]
    ours = [
        base
        for base in kind.__mro__
        if base.__module__.startswith("dynamo_ext") and not base.__name__.startswith("_")
    ]
    members = names or [name for base in ours for name in vars(base) if not name.startswith("_")]
    return {
        word
        for name in members
        for annotation in annotations_of(inspect.getattr_static(kind, name))
        for word in re.findall(r"[A-Z]\w*", annotation)
    }


def annotations_of(member: object) -> cabc.Iterator[str]:
    if isinstance(member, property):
        member = member.fget

    if isinstance(member, (classmethod, staticmethod)):
        member = t.cast("classmethod[t.Any, t.Any, t.Any]", member).__func__

    if isinstance(member, types.FunctionType):
        yield from map(str, member.__annotations__.values())


def test_each_documented_class_is_exported_by_the_package_that_it_is_documented_under() -> None:
    missing = [
        f"{package}.{name}"
        for package, name, _ in documented()
        if name not in PACKAGES[package].__all__
    ]
    assert not missing
    assert ("dynamo_ext", "Pool") in {(package, name) for package, name, _ in documented()}


def test_each_exported_class_is_documented() -> None:
    # What both packages export stands once, under the first.
    names = {name for _, name, _ in documented()}
    exported = {name for package in PACKAGES.values() for name in package.__all__}
    assert exported - names == {"call_finished", "get_recorded_calls", "json_default"}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_class_that_a_documented_signature_shows_is_exported(package: str) -> None:
    classes, exported = own_classes(), vars(PACKAGES[package])
    wrong = [
        f"{name} shows {word}, which {package} does not export"
        for owner, name, options in documented()
        if owner == package
        for word in sorted(shown_names(exported[name], options) & classes.keys())
        if exported.get(word) not in classes[word]
    ]
    assert not wrong, "\n".join(wrong)
