"""What type checkers make of users' projects.

The modules of ``tests/typing`` are a project on an installed dynamo-ext, checked with a
configuration of its own. A comment at the end of a line says what checkers must report there, by
the codes of mypy and the rules of pyright:

``# error: CODE, ...``: in every mode. The line is a mistake, so more may be reported there.
``# strict: CODE, ...``: in strict modes only. What is wrong is not in the line, but in the
annotations that PynamoDB lacks, or in mypy.

Nothing else may be reported. Right modules say with ``assert_type`` that no type is ``Any``.
"""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing as t
import zipfile

import pytest

import pages
import wheels

ROOT = wheels.ROOT
MODULES = pathlib.Path(__file__).parent / "typing"
PAGES = [ROOT / "README.md", ROOT / "docs" / "quick-start.md"]
# The lowest that knows the syntax of each module.
PYTHON = "3.12"

pytestmark = [pytest.mark.repo, pytest.mark.slow, pytest.mark.xdist_group("typing")]

Place = tuple[str, int]
"""A file of the project and a line of it."""


class Report(t.NamedTuple):
    """What a checker says about a line."""

    place: Place
    code: str
    message: str

    def __str__(self) -> str:
        file, line = self.place
        return f"{file}:{line}: {self.message} [{self.code}]"


Checked = tuple[pathlib.Path, list[Report]]
"""A project, and all that is reported about it."""

_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"
_MISTAKE = "not_defined  # error: name-defined, reportUndefinedVariable"
_EXPECTED = re.compile(r"# (error|strict): ([\w-]+(?:, [\w-]+)*)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mode:
    """A type checker and how strict it is."""

    checker: str
    strict: bool

    def __str__(self) -> str:
        return f"{self.checker}-{'strict' if self.strict else 'default'}"

    def knows(self, code: str) -> bool:
        return code.startswith("report") == (self.checker == "pyright")

    def check(self, python: pathlib.Path, project: pathlib.Path) -> Checked:
        """Check a project.

        :param python: The interpreter whose packages the project uses.
        :param project: The directory.
        """
        read = _mypy if self.checker == "mypy" else _pyright
        return project, list(read(python, project))

    def configure(self, project: pathlib.Path) -> None:
        if self.checker == "mypy":
            text = f"[mypy]\npython_version = {PYTHON}\nstrict = {self.strict}\n"
            (project / "mypy.ini").write_text(text)
        else:
            settings = {
                "pythonVersion": PYTHON,
                "typeCheckingMode": "strict" if self.strict else "basic",
            }
            (project / "pyrightconfig.json").write_text(json.dumps(settings))


MODES = [
    Mode(checker=checker, strict=strict)
    for checker in ("mypy", "pyright")
    for strict in (False, True)
]


def _run(command: list[str | pathlib.Path], project: pathlib.Path) -> str:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MYPY", "PYTHONPATH"))
    }
    # pyright otherwise asks the network whether it is the newest.
    environment["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"
    environment["PYRIGHT_PYTHON_CACHE_DIR"] = f"{sys.prefix}/pyright"
    command = [sys.executable, "-m", *command]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=project)
    # 1: there is something to report.
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


def _mypy(python: pathlib.Path, project: pathlib.Path) -> cabc.Iterator[Report]:
    output = _run(["mypy", "--output=json", "--python-executable", python, "."], project)

    for report in map(json.loads, filter(None, output.splitlines())):
        if report["severity"] != "note":
            yield Report((report["file"], report["line"]), report["code"] or "", report["message"])


def _pyright(python: pathlib.Path, project: pathlib.Path) -> cabc.Iterator[Report]:
    output = _run(["pyright", "--outputjson", "--pythonpath", python], project)

    for report in json.loads(output)["generalDiagnostics"]:
        file = pathlib.Path(report["file"]).relative_to(project)
        line: int = report["range"]["start"]["line"] + 1
        yield Report((str(file), line), report.get("rule", ""), report["message"])


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An interpreter that has the wheel of dynamo-ext, and the packages of this one but for stubs,
    which users need not install."""
    directory = tmp_path_factory.mktemp("installed")
    wheels.python_m(sys.executable, "venv", "--without-pip", directory)
    python = directory / "bin" / "python"
    packages = pathlib.Path(_output(python, _PACKAGES))

    with zipfile.ZipFile(wheels.build(directory)) as wheel:
        wheel.extractall(packages)

    for path in pathlib.Path(_output(sys.executable, _PACKAGES)).iterdir():
        # A file of paths would lead to this checkout.
        if not path.name.endswith(("-stubs", ".pth")) and not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)

    file = _output(python, "import dynamo_ext; print(dynamo_ext.__file__)")
    assert pathlib.Path(file).is_relative_to(packages)
    return python


def _output(python: str | pathlib.Path, code: str) -> str:
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def checked(python: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Mode, Checked]:
    """The project, checked in each mode."""
    projects = [_project(mode, tmp_path_factory.mktemp(str(mode))) for mode in MODES]

    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = pool.map(lambda mode, project: mode.check(python, project), MODES, projects)
        return dict(zip(MODES, results, strict=True))


def _project(mode: Mode, directory: pathlib.Path) -> pathlib.Path:
    shutil.copytree(MODULES, directory, dirs_exist_ok=True)
    mode.configure(directory)

    if not mode.strict:
        # Their functions have no annotations.
        for page in PAGES:
            for file in pages.write_files(pages.read(page.read_text()), directory):
                file.rename(file.with_stem(f"{page.stem}_{file.stem}".replace("-", "_")))

    for file in directory.glob("*.py"):
        # A module that a checker passes by would have no mistake.
        file.write_text(f"{file.read_text()}\n\n{_MISTAKE}\n")

    return directory


@dataclasses.dataclass(frozen=True)
class Expected:
    """What must be reported about a project in one mode."""

    codes: set[tuple[Place, str]] = dataclasses.field(default_factory=set)
    mistakes: set[Place] = dataclasses.field(default_factory=set)
    """Where more may be reported."""


def expected(mode: Mode, project: pathlib.Path) -> Expected:
    found = Expected()

    for file in project.rglob("*.py"):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            place = str(file.relative_to(project)), number

            for kind, codes in _EXPECTED.findall(line):
                if kind == "error":
                    found.mistakes.add(place)

                if kind == "error" or mode.strict:
                    known = filter(mode.knows, codes.split(", "))
                    found.codes.update((place, code) for code in known)

    return found


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_checkers_report_the_mistakes_of_a_project_and_nothing_else(
    mode: Mode, checked: dict[Mode, Checked]
) -> None:
    project, reports = checked[mode]
    wanted = expected(mode, project)
    unexpected = [
        str(each)
        for each in reports
        if (each.place, each.code) not in wanted.codes and each.place not in wanted.mistakes
    ]
    reported = {(each.place, each.code) for each in reports}
    missing = [
        f"{file}:{line}: not reported [{code}]"
        for (file, line), code in sorted(wanted.codes - reported)
    ]
    assert not unexpected + missing, "\n".join(unexpected + missing)
    assert wanted.codes


@pytest.mark.parametrize("read", [_mypy, _pyright])
def test_settings_of_the_docs_leave_out_what_pynamodb_does_not_annotate(
    read: cabc.Callable[[pathlib.Path, pathlib.Path], cabc.Iterator[Report]],
    python: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    (settings,) = (
        block.code
        for block in pages.read((ROOT / "docs" / "models.md").read_text())
        if block.language == "toml"
    )
    (tmp_path / "pyproject.toml").write_text(settings)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "__init__.py").touch()
    shutil.copy(MODULES / "attributes.py", tmp_path / "library" / "models.py")
    shutil.copy(MODULES / "operations.py", tmp_path / "library")
    assert list(read(python, tmp_path)) == []
