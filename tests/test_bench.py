"""``scripts/bench``, as one runs it, on contestants that need no environment of their own."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import typing as t

import pytest

import engines

ROOT = pathlib.Path(__file__).parent.parent
OUTSIDE = re.compile(r"^% begin: (\w+)$.*?^% end: \1$", re.MULTILINE | re.DOTALL)
PAGES = ("performance.md", "sizing.md")
#: The figures that are more than 0, by the first part of a case's name; of all others, CALLS.
CALLS = ("calls_per_second", "cpu_us")
FIGURES = {
    "startup": ("sockets", "first_calls_ms"),
    "gunicorn": ("requests_per_second", "cpu_us"),
    "hypercorn": ("requests_per_second", "cpu_us"),
}

pytestmark = [
    pytest.mark.repo,
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("cc") is None,
        reason="the stub server of the benchmarks is for Linux, and compiled by cc",
    ),
]

Run = t.Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of what the command needs, for it writes beside itself."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "bench", tmp_path / "scripts")
    (tmp_path / "docs").mkdir()

    for page in PAGES:
        shutil.copy(ROOT / "docs" / page, tmp_path / "docs")

    return tmp_path


@pytest.fixture
def bench(tree: pathlib.Path) -> Run:
    """Run the command in this Python."""

    def run(
        *arguments: str | pathlib.Path, python: str = sys.executable
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [tree / "scripts" / "bench", *arguments],
            capture_output=True,
            text=True,
            env={
                **engines.python_environment(),
                "PYTHON": sys.executable,
                "BENCH_PYTHON": python,
            },
            timeout=250,
        )

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rounds", "cases"),
    [
        (2, ["get/2/0", "put/1/0", "query/1/0", "batch/1/0", "flask/get/2/0"]),
        (1, ["startup/2", "hypercorn/2/0"]),
    ],
)
def test_measures_every_contestant_in_every_round(
    bench: Run, tmp_path: pathlib.Path, rounds: int, cases: list[str]
) -> None:
    names = ["pynamodb", "dynamo-ext:2"]
    file = tmp_path / "results.json"
    done = bench(
        *(*cases, "--contestants", *names, "--rounds", str(rounds), "--seconds", "0.000001"),
        *("--json", file),
    )
    assert done.returncode == 0, done.stderr
    assert "was not measured" not in done.stdout, done.stdout

    results = json.loads(file.read_text())
    measured = sorted((row["case"], row["contestant"], row["round"]) for row in results["rows"])
    assert measured == sorted(
        (case, name, number) for case in cases for name in names for number in range(rounds)
    )

    for row in results["rows"]:
        figures = row["figures"]
        kind = row["case"].partition("/")[0]
        assert all(figures[name] > 0 for name in FIGURES.get(kind, CALLS)), row
        assert ("lag_p99_ms" in figures) == (kind in {"get", "put", "query", "batch"}), row

    assert results["ceiling"] > 0
    versions = results["versions"]["pynamodb"]
    assert versions["Python"]
    assert versions["pynamodb"]
    assert ("hypercorn" in versions) == ("hypercorn/2/0" in cases)
    assert all(f"(`{case}`)" in done.stdout for case in cases)


def test_shortcuts_for_views_are_compared_with_the_same_by_hand(tree: pathlib.Path) -> None:
    environment = engines.python_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(tree), environment["PYTHONPATH"]])
    command = [sys.executable, "-P", "-m", "benchmarks.web", "--rounds", "1", "--calls", "5"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    # So few calls may take any time.
    assert done.returncode in {0, 1}, done.stderr
    lines = (
        "paginate, 20 items: {}, at most 1.3\n"
        "jsonify, 100 items: {}, at most 1.5\n"
        "5 GetItem on botocore, recorded: {}, at most 1.05\n"
        "5 GetItem on auto, recorded: {}\n"
        "5 GetItem on auto, traced without an SDK: {}\n"
        "5 GetItem on auto, traced with an SDK: {}\n"
    )
    figures = r"\d+ µs instead of \d+, \d+.\d\d times as much"
    assert re.fullmatch(lines.replace("{}", figures), done.stdout), done.stdout
    assert not done.stderr


def test_slow_server_takes_its_time(bench: Run, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "results.json"
    done = bench(
        *("get/1/20", "gunicorn/1/20", "--contestants", "pynamodb", "--rounds", "1"),
        *("--seconds", "0.1", "--json", file),
    )
    assert done.returncode == 0, done.stderr

    call, page = json.loads(file.read_text())["rows"]
    assert call["figures"]["p50_ms"] >= 20
    # The page has three reads, one after the other.
    assert page["figures"]["p50_ms"] >= 60


def test_who_cannot_be_measured_is_named(bench: Run) -> None:
    done = bench(
        *("get/1/0", "startup/1", "--contestants", "dynamo-ext", "--rounds", "2"),
        python="/nowhere/python",
    )
    assert done.returncode == 0, done.stderr
    reason = "get/1/0: cannot run '/nowhere/python': No such file or directory"
    assert f"- `dynamo-ext` was not measured: {reason}\n" in done.stdout


def test_a_crash_is_told(bench: Run, tmp_path: pathlib.Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    python.chmod(0o755)
    arguments = ("get/1/0", "--contestants", "dynamo-ext", "--rounds", "1")
    done = bench(*arguments, python=str(python))
    assert done.returncode == 0, done.stderr
    reason = f"get/1/0: its process has ended, with exit code {-signal.SIGSEGV}"
    assert f"- `dynamo-ext` was not measured: {reason}\n" in done.stdout


def test_who_needs_a_newer_python_is_named(bench: Run, tree: pathlib.Path) -> None:
    lineup = tree / "benchmarks" / "lineup.py"
    lineup.write_text(lineup.read_text().replace("python=(3, 12)", "python=(3, 99)"))
    done = bench("get/1/0", "hypercorn/1/0", "--contestants", "dynamoxy", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    reason = f"needs Python 3.99 or newer, and the others ran on {platform.python_version()}"
    assert f"- `dynamoxy` was not measured: get/1/0: {reason}\n" in done.stdout


@pytest.mark.parametrize(
    ("new_enough", "taken"),
    [
        ({"python3", "python3.12"}, "python3"),
        ({"python3.13", "python3.14"}, "python3.13"),
        ({"pyenv"}, "pyenv"),
        (set[str](), "python3"),
    ],
)
def test_takes_a_python_on_which_every_contestant_runs(
    tree: pathlib.Path, new_enough: set[str], taken: str
) -> None:
    pyenv = tree / ".pyenv" / "versions" / "3.12.1" / "bin"
    pyenv.mkdir(parents=True)

    for name in ("python3", "python3.12", "python3.13", "python3.14", "pyenv"):
        file = pyenv / "python3" if name == "pyenv" else tree / "scripts" / name
        code = 0 if name in new_enough else 1
        file.write_text(
            "#!/bin/sh\n"
            f'case "$*" in *"(3, 12)"*) exit {code};; "-P -m benchmarks"*) echo {name};; esac\n'
        )
        file.chmod(0o755)

    path = f"{tree / 'scripts'}:{os.defpath}"
    done = subprocess.run(
        [tree / "scripts" / "bench"],
        capture_output=True,
        text=True,
        env={"PATH": path, "HOME": str(tree)},
    )
    assert (done.stdout, done.stderr) == (f"{taken}\n", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fetch/1/0"], "'fetch/1/0' is not a valid case."),
        (["get/0/0"], "'get/0/0' is not a valid case."),
        (["get/1"], "'get/1' is not a valid case."),
        (["startup/0"], "'startup/0' is not a valid case."),
        (["gunicorn/0/0"], "'gunicorn/0/0' is not a valid case."),
        (["hypercorn/get/1/0"], "'hypercorn/get/1/0' is not a valid case."),
        (["--contestants", "redis"], "'redis' is not a contestant."),
        (["--contestants", "dynamo-ext:0"], "'dynamo-ext:0' is not a contestant."),
        (["--rounds", "0"], "'0' is not a number from 1 on"),
        (["--seconds", "soon"], "'soon' is not a number of seconds"),
    ],
)
def test_wrong_argument(bench: Run, arguments: list[str], complaint: str) -> None:
    done = bench(*arguments)
    assert done.returncode != 0
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def _row(case: str, contestant: str, number: int, **figures: float) -> dict[str, t.Any]:
    return {"case": case, "contestant": contestant, "round": number, "figures": figures}


@pytest.fixture
def given(tmp_path: pathlib.Path) -> pathlib.Path:
    """Figures of a run whose machine is ten times as slow in the first of three rounds."""
    rows = [
        row
        for number, speed in enumerate((1, 10, 10))
        for row in (
            _row("query/10/0", "pynamodb", number, calls_per_second=10 * speed, lag_p99_ms=60),
            _row("query/10/0", "aiopynamodb", number, calls_per_second=30 * speed, lag_p99_ms=90),
            _row("query/10/0", "dynamo-ext", number, calls_per_second=55 * speed, lag_p99_ms=2),
            _row("query/10/0", "dynamo-ext-botocore", number, calls_per_second=20 * speed),
            _row("get/100/5", "dynamo-ext:20", number, calls_per_second=777 * speed),
            _row("startup/30", "pynamodb", number, first_calls_ms=3000 / speed, memory_mb=300),
            _row("startup/30", "dynamo-ext", number, first_calls_ms=120 / speed, memory_mb=9),
            _row("startup/30", "dynamo-ext-botocore", number, first_calls_ms=130, memory_mb=9),
            _row("startup/1", "pynamodb", number, first_calls_ms=100 / speed),
            _row("startup/1", "dynamo-ext", number, first_calls_ms=150 / speed),
            _row("hypercorn/20/0", "pynamodb", number, requests_per_second=10 * speed),
            _row("hypercorn/20/0", "dynamo-ext", number, requests_per_second=30 * speed),
        )
    ]
    file = tmp_path / "given.json"
    results = {"machine": {"CPUs": "2"}, "rounds": 3, "seconds": 1, "rows": rows}
    file.write_text(json.dumps({**results, "missing": {"pydynox": "not installed: no wheel"}}))
    return file


def test_targets_are_compared_round_by_round(bench: Run, given: pathlib.Path) -> None:
    done = bench("--targets", "--from", given)
    assert done.returncode == 0, done.stderr
    ours, botocore = "| `dynamo-ext` |", "| `dynamo-ext-botocore` |"
    lines = [
        f"{ours} `query/10/0` | calls/s | `pynamodb` | 5.50 | 5.50-5.50 | ≥ 5 | ≥ 6.5 | met |",
        f"{botocore} `query/10/0` | calls/s | `pynamodb` | 2.00 | 2.00-2.00 | ≥ 3 | ≥ 4 | MISSED |",
        f"{ours} `startup/30` | time | `pynamodb` | 0.04 | 0.04-0.04 | ≤ 0.05 | ≤ 0.0333 | met |",
        f"{ours} `startup/30` | memory | `pynamodb` | 0.03 | 0.03-0.03 | ≤ 0.05 | ≤ 0.04 |"
        " aim reached |",
        f"{ours} `startup/1` | time | `pynamodb` | 1.50 | 1.50-1.50 | ≤ 1 | ≤ 0.7 | MISSED |",
        f"{ours} `get/100/0` | calls/s | `pynamodb` | - | - | ≥ 3 | ≥ 4 | not measured |",
        f"{ours} `hypercorn/20/0` | requests/s | `pynamodb` | 3.00 | 3.00-3.00 | ≥ 2 | ≥ 3 |"
        " aim reached |",
        "- `pydynox` was not measured: not installed: no wheel",
        "4 of 30 targets are met, 2 aims are reached, 24 targets were not measured.",
    ]
    assert not [line for line in lines if line not in done.stdout], done.stdout


def test_docs_get_the_figures_between_their_marks(
    bench: Run, given: pathlib.Path, tree: pathlib.Path
) -> None:
    done = bench("--write-docs", "--from", given)
    assert done.returncode == 0, done.stderr

    for page in PAGES:
        before, after = (ROOT / "docs" / page).read_text(), (tree / "docs" / page).read_text()
        assert OUTSIDE.sub("", after) == OUTSIDE.sub("", before)

    performance, sizing = ((tree / "docs" / page).read_text() for page in PAGES)
    assert "| `dynamo-ext` | 550 | 55-550 | 5.50 |" in performance
    assert "| `dynamo-ext` | 300 | 30-300 | 3.00 |" in performance
    # The note on figures of an older run does not outlive that run.
    assert ":::{note}" not in performance
    assert "| `dynamo-ext` | 20 | 7770 |" in sizing
    # No peer is ahead here, so its own page must not say so.
    assert "| `query/10/0` | calls/s | `aiopynamodb` |" not in performance

    images = re.findall(r"^```{image} (\S+)$", performance, re.MULTILINE)
    assert [image for image in images if "startup" in image]
    assert all((tree / "docs" / image).read_text().startswith("<svg ") for image in images)
    _check_labels((tree / "docs" / "performance" / "startup-light.svg").read_text())


def _check_labels(chart: str) -> None:
    """No label is cut off at the left of its panel; a chart has two panels, side by side."""
    width = float(re.findall(r"viewBox='0 0 (\d+) ", chart)[0])
    labels = re.findall(r"<text x='([\d.]+)' .* text-anchor='end'>(.+)<", chart)
    assert "dynamo-ext-botocore" in [name for _, name in labels]

    for end, name in labels:
        # The average character of these names, in bold, is up to 0.67 em wide.
        assert float(end) % (width / 2) >= len(name) * 13 * 0.67, name


def test_the_page_on_sizing_stays_as_it_is_where_no_pools_were_compared(
    bench: Run, given: pathlib.Path, tree: pathlib.Path
) -> None:
    results = json.loads(given.read_text())
    results["rows"] = [row for row in results["rows"] if ":" not in row["contestant"]]
    given.write_text(json.dumps(results))
    done = bench("--write-docs", "--from", given)
    assert done.returncode == 0, done.stderr
    sizing = "sizing.md"
    assert (tree / "docs" / sizing).read_text() == (ROOT / "docs" / sizing).read_text()


def test_peer_that_is_ahead_is_shown(bench: Run, given: pathlib.Path, tree: pathlib.Path) -> None:
    results = json.loads(given.read_text())
    results["rows"] += [
        _row("query/10/0", "aiodynamo", number, calls_per_second=110 * speed, lag_p99_ms=40)
        for number, speed in enumerate((1, 10, 10))
    ]
    given.write_text(json.dumps(results))
    done = bench("--write-docs", "--from", given)
    assert done.returncode == 0, done.stderr
    performance = (tree / "docs" / "performance.md").read_text()
    assert "| `query/10/0` | calls/s | `aiodynamo` | 2.00 |" in performance


def test_pages_show_all_that_is_written() -> None:
    docs = "".join((ROOT / "docs" / page).read_text() for page in PAGES)
    marks = re.findall(r"^% (begin|end): (\w+)$", docs, re.MULTILINE)
    assert [mark for mark, _ in marks] == ["begin", "end"] * (len(marks) // 2)

    source = (ROOT / "benchmarks" / "page.py").read_text()
    parts = re.findall(r'^    "(\w+)":', source.partition("PARTS")[2], re.MULTILINE)
    assert sorted(parts) == sorted(name for mark, name in marks if mark == "begin")


def test_script_can_be_run() -> None:
    assert os.access(ROOT / "scripts" / "bench", os.X_OK)
