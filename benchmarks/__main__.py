"""``scripts/bench``: measures the contestants and reports the results."""

from __future__ import annotations

import argparse
import pathlib
import sys
import typing as t

from . import cases
from . import lineup
from . import page
from . import rounds
from . import tables
from . import targets
from .failure import Failure
from .results import Results

_ROUNDS = 7
_SECONDS = 0.5
_QUICK_ROUNDS = 3
_QUICK_SECONDS = 0.2
_LONGEST = 60


def main() -> None:
    options = _options()

    try:
        results = _results(options)

        if options.json:
            results.write(options.json)

        if options.write_docs:
            page.write(results)
    except Failure as failure:
        sys.exit(f"scripts/bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)

    print(_report(results, with_targets=options.targets))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure dynamo-ext and its peers side by side.",
        epilog="A case is 'get/100/0' (operation, callers, ms at the server), 'flask/get/10/0',"
        " 'startup/30', or 'gunicorn/20/0' or 'hypercorn/20/0' (a page, clients, ms at the server)."
        " BENCH_PYTHON names an interpreter that has the project already; PYTHON names the one"
        " that creates the environments: by default one that is 3.12 or newer, which some"
        " contestants need, or else python3.",
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="what to measure (default: all)")
    parser.add_argument(
        "--contestants",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"whom to measure (default: {', '.join(lineup.NAMES)}); NAME:50 has a pool of 50",
    )
    parser.add_argument("--rounds", type=_count, help=f"how many (default: {_ROUNDS})")
    parser.add_argument(
        "--seconds",
        type=_duration,
        help=f"for each contestant, case and round (default: {_SECONDS:g})",
    )
    parser.add_argument("--quick", action="store_true", help="few cases, few and short rounds")
    parser.add_argument("--targets", action="store_true", help="compare with the targets")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--from",
        dest="given",
        type=pathlib.Path,
        metavar="FILE",
        help="read the figures from there instead of measuring",
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="write tables and charts into the docs"
    )
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")

    return int(text)


def _duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0

    if not 0 < seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to {_LONGEST}")

    return seconds


def _results(options: argparse.Namespace) -> Results:
    if options.given:
        return Results.read(options.given)

    return rounds.run(
        _cases(options),
        [*lineup.choose(_names(options)), *(lineup.sizing() if options.write_docs else [])],
        rounds=options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS),
        seconds=options.seconds or (_QUICK_SECONDS if options.quick else _SECONDS),
    )


def _cases(options: argparse.Namespace) -> list[cases.Case]:
    if options.cases:
        return [cases.parse(text) for text in options.cases]

    if options.targets and not options.write_docs:
        return [cases.parse(text) for text in targets.CASES]

    return cases.quick() if options.quick else cases.every()


def _names(options: argparse.Namespace) -> t.Sequence[str]:
    if options.targets and not options.cases and not options.contestants and not options.write_docs:
        return targets.CONTESTANTS

    return t.cast(list[str], options.contestants)


def _report(results: Results, *, with_targets: bool) -> str:
    parts = [page.circumstances(results), tables.of_versions(results)]

    for case in results.cases:
        parts += [f"## {cases.parse(case).title} (`{case}`)", tables.of_case(results, case)]

    if results.missing:
        parts += ["## Not measured", page.missing(results)]

    if with_targets:
        parts += ["## Targets", tables.of_targets(results), targets.summary(results)]

    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
