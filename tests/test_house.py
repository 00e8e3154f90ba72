"""Which package may import which: every arrow points down, and there is no circle.

The same table, with what each package holds, is in docs/design.md.
"""

from __future__ import annotations

import ast
import collections.abc as cabc
import dataclasses
import functools
import pathlib
import re
import subprocess
import sys

import pytest

import dynamo_ext
import engines

pytestmark = pytest.mark.once(reason="source files are read")

ROOT = pathlib.Path(str(dynamo_ext.__file__)).parent.parent
REPOSITORY = pathlib.Path(__file__).parent.parent

# What each package may import of this project, besides itself: only packages in rows below its own.
ALLOWED: dict[str, set[str]] = {
    "pytest_dynamo_ext": {"dynamo_ext.testing"},
    "dynamo_ext.testing": {
        "dynamo_ext.binding",
        "dynamo_ext.concurrency",
        "dynamo_ext.local",
        "dynamo_ext.models",
        "dynamo_ext.printable",
    },
    "dynamo_ext_async": {
        "dynamo_ext",
        "dynamo_ext_async.binds",
        "dynamo_ext_async.extension",
        "dynamo_ext_async.models",
    },
    "dynamo_ext_async.extension": {
        "dynamo_ext",
        "dynamo_ext.binding",
        "dynamo_ext.extension",
        "dynamo_ext.web",
        "dynamo_ext_async.binds",
        "dynamo_ext_async.execution",
        "dynamo_ext_async.models",
        "dynamo_ext_async.web",
    },
    "dynamo_ext_async.binds": {
        "dynamo_ext.binds",
        "dynamo_ext.calls",
        "dynamo_ext_async.execution",
        "dynamo_ext_async.models",
    },
    "dynamo_ext_async.web.browse": {"dynamo_ext.browsing"},
    "dynamo_ext_async.web": {
        "dynamo_ext.call_site",
        "dynamo_ext.models",
        "dynamo_ext.web",
        "dynamo_ext_async.models",
    },
    "dynamo_ext_async.models": {
        "dynamo_ext.calls",
        "dynamo_ext.client",
        "dynamo_ext.concurrency",
        "dynamo_ext.errors",
        "dynamo_ext.models",
        "dynamo_ext_async.execution",
    },
    "dynamo_ext_async.execution": {
        "dynamo_ext.calls",
        "dynamo_ext.client",
        "dynamo_ext.concurrency",
        "dynamo_ext.errors",
        "dynamo_ext.models",
    },
    "dynamo_ext": {
        "dynamo_ext.binds",
        "dynamo_ext.call_site",
        "dynamo_ext.calls",
        "dynamo_ext.client",
        "dynamo_ext.config",
        "dynamo_ext.errors",
        "dynamo_ext.flask",
        "dynamo_ext.models",
        "dynamo_ext.web",
    },
    "dynamo_ext.flask": {"dynamo_ext.binding", "dynamo_ext.extension", "dynamo_ext.web"},
    "dynamo_ext.extension": {
        "dynamo_ext.binding",
        "dynamo_ext.binds",
        "dynamo_ext.cli",
        "dynamo_ext.config",
        "dynamo_ext.models",
        "dynamo_ext.web",
    },
    "dynamo_ext.binds": {
        "dynamo_ext.binding",
        "dynamo_ext.calls",
        "dynamo_ext.client",
        "dynamo_ext.config",
        "dynamo_ext.models",
    },
    "dynamo_ext.debug": {"dynamo_ext.web"},
    "dynamo_ext.opentelemetry": {"dynamo_ext.calls", "dynamo_ext.client"},
    "dynamo_ext.schema": {"dynamo_ext.web"},
    "dynamo_ext.web.browse": {"dynamo_ext.browsing"},
    "dynamo_ext.browsing": {
        "dynamo_ext.binding",
        "dynamo_ext.client",
        "dynamo_ext.errors",
        "dynamo_ext.models",
        "dynamo_ext.printable",
        "dynamo_ext.provisioning",
        "dynamo_ext.web",
    },
    "dynamo_ext.web": {
        "dynamo_ext.binding",
        "dynamo_ext.call_site",
        "dynamo_ext.calls",
        "dynamo_ext.concurrency",
        "dynamo_ext.errors",
        "dynamo_ext.models",
        "dynamo_ext.printable",
    },
    "dynamo_ext.cli": {
        "dynamo_ext.binding",
        "dynamo_ext.calls",
        "dynamo_ext.client",
        "dynamo_ext.concurrency",
        "dynamo_ext.config",
        "dynamo_ext.errors",
        "dynamo_ext.local",
        "dynamo_ext.models",
        "dynamo_ext.printable",
        "dynamo_ext.provisioning",
    },
    "dynamo_ext.provisioning": {
        "dynamo_ext.binding",
        "dynamo_ext.client",
        "dynamo_ext.concurrency",
        "dynamo_ext.config",
        "dynamo_ext.errors",
        "dynamo_ext.models",
    },
    "dynamo_ext.models": {
        "dynamo_ext.binding",
        "dynamo_ext.call_site",
        "dynamo_ext.calls",
        "dynamo_ext.client",
        "dynamo_ext.concurrency",
        "dynamo_ext.errors",
        "dynamo_ext.namespaces",
        "dynamo_ext.printable",
    },
    "dynamo_ext.binding": {
        "dynamo_ext.calls",
        "dynamo_ext.client",
        "dynamo_ext.concurrency",
        "dynamo_ext.config",
        "dynamo_ext.errors",
        "dynamo_ext.printable",
    },
    "dynamo_ext.client": {
        "dynamo_ext.calls",
        "dynamo_ext.concurrency",
        "dynamo_ext.config",
        "dynamo_ext.errors",
        "dynamo_ext.local",
        "dynamo_ext.namespaces",
        "dynamo_ext.transport",
    },
    "dynamo_ext.transport": {"dynamo_ext.calls", "dynamo_ext.concurrency"},
    "dynamo_ext.calls": {
        "dynamo_ext.call_site",
        "dynamo_ext.concurrency",
        "dynamo_ext.config",
        "dynamo_ext.errors",
        "dynamo_ext.printable",
    },
    "dynamo_ext.local": {
        "dynamo_ext.concurrency",
        "dynamo_ext.errors",
        "dynamo_ext.printable",
    },
    "dynamo_ext.config": {
        "dynamo_ext.call_site",
        "dynamo_ext.errors",
        "dynamo_ext.printable",
    },
    "dynamo_ext.concurrency": set(),
    "dynamo_ext.call_site": set(),
    "dynamo_ext.namespaces": set(),
    "dynamo_ext.errors": set(),
    "dynamo_ext.printable": set(),
}

# Who may import another project's package. It is the adapters that know a framework.
FRAMEWORKS = {
    "aiologic": {"dynamo_ext_async.execution", "dynamo_ext_async.models"},
    "quart": {"dynamo_ext_async", "dynamo_ext_async.extension", "dynamo_ext_async.web.browse"},
    "anyio": {
        "dynamo_ext_async",
        "dynamo_ext_async.execution",
        "dynamo_ext_async.extension",
        "dynamo_ext_async.models",
        "dynamo_ext_async.web.browse",
    },
    "flask": {"dynamo_ext.flask", "dynamo_ext.web.browse", "dynamo_ext_async.extension"},
    "flask_debugtoolbar": {"dynamo_ext.debug"},
    "greenlet": {"dynamo_ext_async.execution"},
    "httptools": {"dynamo_ext.transport"},
    "msgspec": {"dynamo_ext.client", "dynamo_ext.models", "dynamo_ext.transport"},
    "moto": {"dynamo_ext.local"},
    "opentelemetry": {"dynamo_ext.opentelemetry"},
    "pydantic": {"dynamo_ext.schema", "dynamo_ext.web"},
    "pydantic_core": {"dynamo_ext.web"},
    "pytest": {"pytest_dynamo_ext"},
}
# The base of Flask's and Quart's apps has no I/O and no context: it is for everybody.
FOR_EVERYBODY = ("flask.sansio",)


@dataclasses.dataclass(frozen=True)
class Import:
    """One import of a module by another one."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer} (line {self.line}) imports {self.imported}"


def module_name(file: pathlib.Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(file): file
    for package in ("dynamo_ext", "dynamo_ext_async", "pytest_dynamo_ext")
    for file in sorted((ROOT / package).rglob("*.py"))
}


def package_of(module: str) -> str:
    """The entry of the table that a module is part of: a row of its own, or that of its package."""
    first = module.split(".")
    return module if module in ALLOWED else ".".join(first[:2])


@functools.cache
def imports() -> list[Import]:
    """All of them. Not read where tests are only collected, as each process of a run does."""
    return list(_read_imports())


def _read_imports() -> cabc.Iterator[Import]:
    for name, file in MODULES.items():
        is_package = file.name == "__init__.py"

        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(name, alias.name, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                base = name.split(".")
                base = base[: len(base) - node.level + is_package] if node.level else []
                origin = ".".join([*base, *filter(None, [node.module])])

                for alias in node.names:
                    target = f"{origin}.{alias.name}"
                    yield Import(name, target if target in MODULES else origin, node.lineno)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in {"dynamo_ext", "dynamo_ext_async", "pytest_dynamo_ext"}


def matches(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def test_each_package_imports_only_what_it_may() -> None:
    wrong = [
        f"{each}, but {package_of(each.importer)} may import only {allowed}"
        for each in imports()
        if is_ours(each.imported)
        and (imported := package_of(each.imported)) != package_of(each.importer)
        and imported not in (allowed := sorted(ALLOWED.get(package_of(each.importer), ())))
    ]
    assert not wrong, "\n".join(wrong)


def test_every_package_has_its_row_in_the_table() -> None:
    assert {package_of(name) for name in MODULES} == set(ALLOWED)


def test_every_arrow_of_the_table_points_down() -> None:
    rows = list(ALLOWED)
    wrong = [
        f"{package} may import {target}, which stands above it"
        for package, targets in ALLOWED.items()
        for target in targets
        if rows.index(target) <= rows.index(package)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_arrow_of_the_table_is_there() -> None:
    """Else the table would allow more than there is need for."""
    used = {(package_of(each.importer), package_of(each.imported)) for each in imports()}
    listed = {(package, target) for package, targets in ALLOWED.items() for target in targets}
    assert listed - used == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows: dict[str, set[str]] = {name: set() for name in MODULES}

    for each in imports():
        if each.imported in MODULES and each.imported != each.importer:
            arrows[each.importer].add(each.imported)

    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}

    assert not arrows, f"these are, or lead to, a circle: {arrows}"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_only_adapters_and_those_who_need_it_import(framework: str) -> None:
    wrong = [
        f"{each}, but only {sorted(FRAMEWORKS[framework])} may"
        for each in imports()
        if matches(each.imported, framework)
        and not any(matches(each.imported, package) for package in FOR_EVERYBODY)
        and package_of(each.importer) not in FRAMEWORKS[framework]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_process_of_the_embedded_engine_needs_nothing_but_the_standard_library_at_first() -> (
    None
):
    """It is run by its path, without this package."""
    tree = ast.parse(MODULES["dynamo_ext.local.server"].read_text(encoding="utf-8"))
    first = {
        (node.module or "").partition(".")[0]
        if isinstance(node, ast.ImportFrom)
        else node.names[0].name.partition(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert first <= sys.stdlib_module_names


def test_the_plugin_imports_nothing_but_pytest_before_a_test_uses_it() -> None:
    """pytest imports it at its start, in each environment that has dynamo-ext."""
    (file,) = (file for name, file in MODULES.items() if package_of(name) == "pytest_dynamo_ext")
    first = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert {name.partition(".")[0] for name in first} - sys.stdlib_module_names == {"pytest"}


def test_an_app_imports_only_what_serves_requests() -> None:
    """Commands, engines and the plugin for tests are imported when somebody uses them."""
    code = """
import sys
import flask
import dynamo_ext
app = flask.Flask("app")
dynamo_ext.PynamoDB(app)
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=engines.python_environment(),
        check=True,
    )
    modules = done.stdout.split()
    of_others = {name for name in modules if "." not in name}
    assert "pynamodb" in of_others
    assert not of_others & {
        *("aiologic", "anyio", "greenlet", "httptools", "moto", "msgspec", "opentelemetry"),
        *("pydantic", "quart", "trio"),
    }
    imported = {name.split(".")[1] for name in modules if name.startswith("dynamo_ext.")}
    on_demand = {"browsing", "debug", "local", "opentelemetry", "provisioning", "schema", "testing"}
    assert "calls" in imported
    assert not imported & on_demand
    commands = {name for name in modules if name.startswith("dynamo_ext.cli.")}
    assert commands == {"dynamo_ext.cli.group"}


def test_no_module_hides_one_of_the_standard_library_or_of_a_dependency() -> None:
    """Whoever runs a file by hand has its folder on the path."""
    hidden = {name for name in MODULES if name.rpartition(".")[2] in _foreign_names()}
    # The names that users of Flask and OpenTelemetry expect; beside them lie packages, which nobody
    # runs by hand.
    assert hidden <= {
        "dynamo_ext.flask",
        "dynamo_ext.local.__main__",
        "dynamo_ext.opentelemetry",
    }


def _foreign_names() -> set[str]:
    outside = {each.imported.partition(".")[0] for each in imports() if not is_ours(each.imported)}
    return outside | sys.stdlib_module_names


def test_the_table_of_the_documentation_is_this_one() -> None:
    page = (REPOSITORY / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w[\w.]*)` \| .* \| (`.*`|nothing) \|$", page, flags=re.MULTILINE)
    documented = {name: set(re.findall(r"`([\w.]+)`", cells)) for name, cells in rows}
    assert documented == {
        _short(package): {_short(name) for name in allowed} for package, allowed in ALLOWED.items()
    }


def _short(package: str) -> str:
    """How the page names a package: one of the core without ``dynamo_ext``."""
    return package.removeprefix("dynamo_ext.")
