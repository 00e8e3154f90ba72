"""A virtual environment with what ``pip install`` would bring, and nothing else, without a network.
As a program, what installs into the environment that is active.

The packages are those of the environment of the tests, as links. So a package that an extra of the
project fails to name is missing there, as it would be for a user.
"""

from __future__ import annotations

import collections.abc as cabc
import importlib.metadata
import importlib.util
import os
import pathlib
import sys
import sysconfig

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "dynamo-ext"
_PACKAGES = ("dynamo_ext", "dynamo_ext_async", "pytest_dynamo_ext")
_SCRIPT = """#!{python}
import sys
from {module} import {function}
sys.exit({function}())
"""


def install(requirements: cabc.Iterable[str], environment: pathlib.Path) -> None:
    """Do what ``pip install`` does.

    :param requirements: What is to be installed.
    :param environment: The directory of the virtual environment.
    :raises importlib.metadata.PackageNotFoundError: if a package is not in the environment of the
        tests.
    """
    folder = pathlib.Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    folder.mkdir(parents=True, exist_ok=True)

    for distribution in _with_dependencies(requirements):
        for path in _top_level(distribution):
            _link(folder / path.name, path)

        for script in distribution.entry_points.select(group="console_scripts"):
            _write_script(script, environment / "bin")


def _with_dependencies(
    requirements: cabc.Iterable[str],
) -> list[importlib.metadata.Distribution]:
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    pending = [Requirement(requirement) for requirement in requirements]

    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        distribution = found.setdefault(name, importlib.metadata.distribution(name))
        assert requirement.specifier.contains(distribution.version, prereleases=True), requirement
        extras = {(name, extra) for extra in ("", *requirement.extras)} - seen
        seen |= extras
        pending += _dependencies(distribution, [extra for _, extra in extras])

    return list(found.values())


def _dependencies(
    distribution: importlib.metadata.Distribution, extras: cabc.Iterable[str]
) -> cabc.Iterator[Requirement]:
    for text in distribution.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker

        if any(marker is None or marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def _top_level(distribution: importlib.metadata.Distribution) -> set[pathlib.Path]:
    names = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
    paths = {pathlib.Path(str(distribution.locate_file(name))) for name in names}

    if distribution.name != PROJECT:
        return paths

    # An editable installation has only a pointer to the packages.
    found = [importlib.util.find_spec(name) for name in _PACKAGES]
    packages = {pathlib.Path(spec.origin).parent for spec in found if spec and spec.origin}
    return packages | {path for path in paths if path.suffix == ".dist-info"}


def _link(link: pathlib.Path, target: pathlib.Path) -> None:
    if not link.exists():
        link.symlink_to(target)


def _write_script(script: importlib.metadata.EntryPoint, folder: pathlib.Path) -> None:
    file = folder / script.name
    file.write_text(
        _SCRIPT.format(python=folder / "python", module=script.module, function=script.attr)
    )
    file.chmod(0o755)


if __name__ == "__main__":
    install(sys.argv[1:], pathlib.Path(os.environ["VIRTUAL_ENV"]))
