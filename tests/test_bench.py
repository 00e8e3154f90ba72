"""``scripts/bench``, as one runs it, on contestants that need no environment of their own."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing as t

import pytest

import engines

ROOT = pathlib.Path(__file__).parent.parent
OUTSIDE = re.compile(r"^% begin: (\w+)$.*?^% end: \1$", re.MULTILINE | re.DOTALL)
PAGES = ("performance.md", "sizing.md")

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
def test_measures_every_contestant_in_every_round(bench: Run, tmp_path: pathlib.Path) -> None:
    cases = ["get/2/0", "put/1/0", "query/1/0", "batch/1/0", "flask/get/2/0", "startup/2"]
    names = ["pynamodb", "dynamo-ext:2"]
    file = tmp_path / "results.json"
    done = bench(
        *cases, "--contestants", *names, "--rounds", "2", "--seconds", "0.000001", "--json", file
    )
    assert done.returncode == 0, done.stderr
    assert "was not measured" not in done.stdout, done.stdout

    results = json.loads(file.read_text())
    measured = sorted((row["case"], row["contestant"], row["round"]) for row in results["rows"])
    assert measured == sorted(
        (case, name, number) for case in cases for name in names for number in (0, 1)
    )

    for row in results["rows"]:
        figures = row["figures"]
        is_startup = row["case"].startswith("startup/")
        assert figures["sockets" if is_startup else "calls_per_second"] > 0, row
        assert figures["first_calls_ms" if is_startup else "cpu_us"] > 0, row
        assert ("lag_p99_ms" in figures) == (not is_startup and "flask" not in row["case"]), row

    assert results["ceiling"] > 0
    assert results["versions"]["pynamodb"]["pynamodb"]
    assert all(f"(`{case}`)" in done.stdout for case in cases)


def test_shortcuts_for_views_are_compared_with_the_same_by_hand(tree: pathlib.Path) -> None:
    environment = engines.python_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(tree), environment["PYTHONPATH"]])
    command = [sys.executable, "-P", "-m", "benchmarks.web", "--rounds", "1", "--calls", "5"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    # So few calls may take any time.
    assert done.returncode in {0, 1}, done.stderr
    lines = (
        r"paginate, 20 items: \d+\.\d\d times by hand, at most 1\.3\n"
        r"jsonify, 100 items: \d+\.\d\d times by hand, at most 1\.5\n"
        r"a call, recorded: \d+\.\d\d times by hand, at most 1\.05\n"
    )
    assert re.fullmatch(lines, done.stdout), done.stdout
    assert not done.stderr


def test_slow_server_takes_its_time(bench: Run, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "results.json"
    done = bench(
        *("get/1/20", "--contestants", "pynamodb", "--rounds", "1", "--seconds", "0.1"),
        *("--json", file),
    )
    assert done.returncode == 0, done.stderr

    (row,) = json.loads(file.read_text())["rows"]
    assert row["figures"]["p50_ms"] >= 20


def test_who_cannot_be_measured_is_named(bench: Run) -> None:
    done = bench(
        *("get/1/0", "startup/1", "--contestants", "dynamo-ext", "--rounds", "2"),
        python="/nowhere/python",
    )
    assert done.returncode == 0, done.stderr
    reason = "get/1/0: cannot run '/nowhere/python': No such file or directory"
    assert f"- `dynamo-ext` was not measured: {reason}\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fetch/1/0"], "'fetch/1/0' is not a valid case."),
        (["get/0/0"], "'get/0/0' is not a valid case."),
        (["get/1"], "'get/1' is not a valid case."),
        (["startup/0"], "'startup/0' is not a valid case."),
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
            _row("query/10/0", "dynamo-ext", number, calls_per_second=35 * speed, lag_p99_ms=2),
            _row("get/100/5", "dynamo-ext:20", number, calls_per_second=777 * speed),
            _row("startup/30", "pynamodb", number, first_calls_ms=3000 / speed, memory_mb=300),
            _row("startup/30", "dynamo-ext", number, first_calls_ms=200 / speed, memory_mb=15),
        )
    ]
    file = tmp_path / "given.json"
    results = {"machine": {"CPUs": "2"}, "rounds": 3, "seconds": 1, "rows": rows}
    file.write_text(json.dumps({**results, "missing": {"pydynox": "not installed: no wheel"}}))
    return file


def test_targets_are_compared_round_by_round(bench: Run, given: pathlib.Path) -> None:
    done = bench("--targets", "--from", given)
    assert done.returncode == 0, done.stderr
    ours = "| `dynamo-ext` |"
    lines = [
        f"{ours} `query/10/0` | calls/s | `pynamodb` | 3.50 | 3.50-3.50 | 3 | 4 | met |",
        f"{ours} `query/10/0` | calls/s | `aiopynamodb` | 1.17 | 1.17-1.17 | 1.5 | 2 | MISSED |",
        f"{ours} `query/10/0` | loop lag p99 | `pynamodb` | 30.00 | 30.00-30.00 | 6 | 20 |"
        " aim reached |",
        f"{ours} `get/100/0` | calls/s | `pynamodb` | - | - | 1.2 | 1.5 | not measured |",
        f"{ours} `startup/30` | time | `pynamodb` | 15.00 | 15.00-15.00 | 12 | 20 | met |",
        "- `pydynox` was not measured: not installed: no wheel",
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
    assert "| `dynamo-ext` | 350 | 35-350 | 3.50 |" in performance
    assert "| `dynamo-ext` | 20 | 7770 |" in sizing
    # No peer is ahead here, so its own page must not say so.
    assert "| `query/10/0` | calls/s | `aiopynamodb` |" not in performance

    images = re.findall(r"^```{image} (\S+)$", performance, re.MULTILINE)
    assert [image for image in images if "startup" in image]
    assert all((tree / "docs" / image).read_text().startswith("<svg ") for image in images)


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
        _row("query/10/0", "aiodynamo", number, calls_per_second=70 * speed, lag_p99_ms=40)
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
