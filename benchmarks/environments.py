"""A virtual environment for the project and one for each peer.

They can't share an environment, because they need different releases of botocore.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tomllib

from . import lineup

ROOT = pathlib.Path(__file__).parent.parent
HOME = ROOT / ".venv-bench"
#: Names an interpreter that has the project and stock PynamoDB already.
PYTHON_VARIABLE = "BENCH_PYTHON"
_EXTRAS = ("async", "direct")


class NotInstalled(Exception):
    """An environment could not be created. The message is pip's."""


def python(name: str) -> pathlib.Path:
    """The interpreter of an environment. The environment is created if it does not exist.

    :param name: A name in :data:`benchmarks.lineup.REQUIREMENTS`, or the project's.
    :raises NotInstalled: if the environment can't be created.
    """
    if name == lineup.PROJECT:
        if given := os.environ.get(PYTHON_VARIABLE):
            return pathlib.Path(given)

        pyproject = (ROOT / "pyproject.toml").read_text()
        extras = tomllib.loads(pyproject)["project"]["optional-dependencies"]
        wanted = ",".join(extra for extra in _EXTRAS if extra in extras)
        requirements = ["--editable", f"{ROOT}[{wanted}]", *lineup.SERVERS]
        return _make(name, requirements, recipe=pyproject)

    return _make(name, list(lineup.REQUIREMENTS[name]))


def _make(name: str, requirements: list[str], recipe: str = "") -> pathlib.Path:
    directory = HOME / name
    interpreter = directory / "bin" / "python"
    mark = directory / "recipe"
    # When the recipe changes, the environment is created again.
    recipe = "\n".join([str(ROOT), sys.version, *requirements, recipe])

    if mark.exists() and mark.read_text() == recipe and _runs(interpreter):
        return interpreter

    print(f"Installing {name} into {directory.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(directory)])
    pip = [str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, *requirements])
    mark.write_text(recipe)
    return interpreter


def _runs(interpreter: pathlib.Path) -> bool:
    try:
        return subprocess.run([interpreter, "-c", ""], check=False).returncode == 0
    except OSError:
        return False


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )

    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.startswith(("ERROR", "Error"))]
        raise NotInstalled(" ".join(lines[:1] or done.stdout.splitlines()[-1:]))
