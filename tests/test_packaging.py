from __future__ import annotations

import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tomllib
import typing as t

import pytest

from wheels import HAS_UV
from wheels import ROOT
from wheels import build
from wheels import python_m

# Wheels are built and installed here, on a cold cache too.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.repo,
    # The wheel and the environment are made once.
    pytest.mark.xdist_group("packaging"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def distribution(wheel: pathlib.Path) -> importlib.metadata.Distribution:
    (distribution,) = importlib.metadata.distributions(path=[str(wheel)])
    return distribution


@pytest.fixture(scope="module")
def bare_python(wheel: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A Python that has the wheel, what it requires, and nothing else."""
    directory = tmp_path_factory.mktemp("bare")
    python = directory / "bin" / "python"

    if HAS_UV:
        python_m(sys.executable, "venv", "--without-pip", directory)
        python_m(sys.executable, "uv", "pip", "install", "--python", python, wheel)
    else:
        python_m(sys.executable, "venv", directory)
        python_m(python, "pip", "install", wheel)

    return python


def run(python: pathlib.Path, code: str) -> subprocess.CompletedProcess[str]:
    # Isolated, so that neither the checkout nor PYTHONPATH can lend a package.
    return subprocess.run(
        [python, "-I", "-W", "error", "-c", code], capture_output=True, text=True, cwd=python.parent
    )


@pytest.mark.parametrize(
    "name",
    [
        "dynamo_ext/__init__.py",
        "dynamo_ext/py.typed",
        "dynamo_ext/browsing/static/icon.svg",
        "dynamo_ext/browsing/static/style.css",
        "dynamo_ext/browsing/templates/base.html",
        "dynamo_ext_async/__init__.py",
        "dynamo_ext_async/py.typed",
        "pytest_dynamo_ext/__init__.py",
        "pytest_dynamo_ext/py.typed",
        "dynamo_ext-{version}.dist-info/entry_points.txt",
        "dynamo_ext-{version}.dist-info/licenses/LICENSE",
    ],
)
def test_wheel_contains(distribution: importlib.metadata.Distribution, name: str) -> None:
    files = {str(file) for file in distribution.files or ()}
    assert name.format(version=distribution.version) in files


def test_wheel_contains_nothing_but_the_packages(
    distribution: importlib.metadata.Distribution,
) -> None:
    tops = {file.parts[0] for file in distribution.files or ()}
    metadata = f"dynamo_ext-{distribution.version}.dist-info"
    assert tops == {"dynamo_ext", "dynamo_ext_async", "pytest_dynamo_ext", metadata}


def test_metadata_says_what_pyproject_says(distribution: importlib.metadata.Distribution) -> None:
    project: dict[str, t.Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = distribution.metadata
    assert metadata["Name"] == project["name"]
    assert metadata["Version"] == project["version"]
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == project["requires-python"]
    assert set(metadata.get_all("Provides-Extra", [])) >= {"async", "local"}
    assert len(distribution.requires or ()) == len(project["dependencies"]) + sum(
        map(len, project["optional-dependencies"].values())
    )


def test_core_needs_neither_quart_nor_anyio(bare_python: pathlib.Path) -> None:
    done = run(
        bare_python,
        "import dynamo_ext, importlib.util\n"
        "for name in ('quart', 'anyio'):\n"
        "    assert importlib.util.find_spec(name) is None, name\n",
    )
    assert done.returncode == 0, done.stderr


def test_async_without_its_extra_says_what_to_install(bare_python: pathlib.Path) -> None:
    done = run(bare_python, "import dynamo_ext_async")
    assert done.returncode == 1
    last_line = done.stderr.splitlines()[-1]
    assert last_line.startswith("ImportError: ")
    assert 'pip install "dynamo-ext[async]"' in last_line


def test_the_oldest_environment_runs_on_each_lower_bound() -> None:
    configuration: dict[str, t.Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = configuration["project"]
    bounds = {
        name.lower(): version
        for requirement in (
            *project["dependencies"],
            *(each for extra in project["optional-dependencies"].values() for each in extra),
        )
        for name, version in re.findall(r"^([\w-]+)>=([\d.]+)", requirement)
    }
    oldest = configuration["tool"]["tox"]["env"]["oldest"]["deps"]
    pinned = {name.lower(): version for name, version in (each.split("==") for each in oldest)}
    assert {name: pinned.get(name) for name in bounds} == bounds
    # Any later release of PynamoDB 6 and of botocore may be installed.
    assert {"pynamodb>=6.1.0,<7", "botocore>=1.34.0"} <= {*project["dependencies"]}
