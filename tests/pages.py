"""The pages of the docs; as a program, what runs the examples of one page.

The ``python`` blocks of a page run in their order and in one namespace, in a process and a
directory of their own. ``await`` works outside functions, too. The run fails unless every
statement of every block has run. A ``text`` block is what the block before it prints, or the
message of what it raises; white space doesn't count. A ``bash`` block is run by bash, in a
directory of the page.

An HTML comment right before a block tells more about it:

``<!-- file: NAME -->``: the block is this file in the page's directory.
``<!-- replaces: FUNCTION in FILE -->``: it takes the place of this function (only in the tutorial).
``<!-- raises: NAME -->``: it raises this class of exception.
``<!-- exits: CODE -->``: the commands end with this exit code.
``<!-- answers: URL STATUS -->``: its last command is a server, which soon answers like that; the
status is 200 if there is none.
``<!-- not run: WHY -->``: it can't be run.

A comment that begins with the word ``check`` is code that readers don't see; it runs like a
``python`` block.
"""

from __future__ import annotations

import ast
import asyncio
import collections.abc as cabc
import contextlib
import dataclasses
import io
import logging
import pathlib
import re
import sys
import threading
import types
import typing as t

CHECK = "check"
LANGUAGES = ("python", "bash", "text", "toml", "html", "dockerfile")
MARKS = ("file", "replaces", "raises", "exits", "answers", "not run")
_PART = re.compile(
    r"^<!-- (?P<comment>.*?)-->$"
    r"|^(?P<fence>`{3,}|:{3,})(?P<language>.*?)\n(?P<code>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(rf"({'|'.join(MARKS)}): (.+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page, or a comment with code."""

    language: str
    code: str
    line: int
    """Where its first line is in the page."""

    mark: str = ""
    value: str = ""
    output: str | None = None

    @property
    def runs(self) -> bool:
        return self.language in {"python", CHECK} and self.mark not in {
            "file",
            "replaces",
            "not run",
        }

    @property
    def padded(self) -> str:
        """The code, each line where it is in the page."""
        return "\n" * (self.line - 1) + self.code


def read(text: str) -> list[Block]:
    """The blocks of a page.

    :param text: The page.
    :raises ValueError: if it has what no rule covers, so that no block is lost unseen.
    """
    blocks: list[Block] = []
    mark, value, end = "", "", 0

    for part in _PART.finditer(text):
        line = text.count("\n", 0, part.start()) + 2

        if mark and (part["language"] is None or text[end : part.start()].strip()):
            raise ValueError(f"line {line - 1}: no block follows '{mark}: {value}'")

        if part["comment"] is None:
            _add(
                blocks,
                Block(
                    language=part["language"], code=part["code"], line=line, mark=mark, value=value
                ),
            )
            mark, value = "", ""
        elif part["comment"].startswith(f"{CHECK}\n"):
            code = part["comment"].removeprefix(f"{CHECK}\n")
            blocks.append(Block(language=CHECK, code=code, line=line))
        elif found := _MARK.fullmatch(part["comment"].strip()):
            mark, value = found.groups()
        else:
            raise ValueError(f"line {line - 1}: unknown comment")

        end = part.end()

    if mark:
        raise ValueError(f"no block follows '{mark}: {value}'")

    return blocks


def _add(blocks: list[Block], block: Block) -> None:
    if block.language.startswith("{"):
        return

    if block.language not in LANGUAGES:
        raise ValueError(f"line {block.line - 1}: unknown language {block.language!r}")

    if block.language == "text" and block.mark != "file":
        index = max(i for i, earlier in enumerate(blocks) if earlier.language != CHECK)
        blocks[index] = dataclasses.replace(blocks[index], output=block.code)
    else:
        blocks.append(block)


def write_files(blocks: cabc.Iterable[Block], directory: pathlib.Path) -> list[pathlib.Path]:
    """Write the files of a page; each line is where it is in the page."""
    files: list[pathlib.Path] = []

    for block in blocks:
        if block.mark == "file":
            files.append(directory / block.value)
            files[-1].write_text(block.padded)

    return files


def same(output: str, expected: str) -> bool:
    """Whether two texts differ in nothing but white space."""
    return output.split() == expected.split()


class _Trace:
    """Notes which lines of some files are run, in whatever thread."""

    def __init__(self, files: cabc.Iterable[pathlib.Path]) -> None:
        self._lines: dict[str, set[int]] = {str(file): set() for file in files}

    def __call__(self, frame: types.FrameType, event: str, argument: object) -> t.Any:
        lines = self._lines.get(frame.f_code.co_filename)

        if lines is not None and event == "line":
            lines.add(frame.f_lineno)

        return None if lines is None else self

    def unreached(self, file: pathlib.Path, code: str) -> list[int]:
        """The lines of the statements that did not run."""
        return [
            node.lineno
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.stmt)
            and not hasattr(node, "body")
            and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            and self._lines[str(file)].isdisjoint(_lines(node))
        ]


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def run(page: pathlib.Path) -> None:
    """Run the examples of a page in this process and its working directory.

    :param page: The page; its lines are those of the tracebacks.
    :raises AssertionError: if an example does not what the page says.
    """
    blocks = read(page.read_text())
    files = write_files(blocks, pathlib.Path.cwd())
    module = sys.modules["page"] = types.ModuleType("page")
    module.__file__ = str(page)
    # Otherwise warnings go to standard error, where nothing but tracebacks is expected.
    logging.getLogger().addHandler(logging.NullHandler())
    trace = _Trace([page, *files])
    threading.settrace(trace)
    sys.settrace(trace)

    for block in blocks:
        if block.runs:
            _run_block(block, page, module.__dict__)

    sys.settrace(None)
    sources = [(file, file.read_text()) for file in files if file.suffix == ".py"]
    sources += [(page, block.padded) for block in blocks if block.runs]
    unreached = [line for file, source in sources for line in trace.unreached(file, source)]
    assert not unreached, f"{page.name}: no example runs the lines {unreached}"


def _run_block(block: Block, page: pathlib.Path, namespace: dict[str, t.Any]) -> None:
    code = compile(
        block.padded, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    printed = io.StringIO()
    where = f"{page.name}, line {block.line}"

    raised = ""

    try:
        with contextlib.redirect_stdout(printed):
            if (coroutine := eval(code, namespace)) is not None:
                asyncio.run(coroutine)
    except Exception as error:
        if block.mark != "raises":
            raise

        raised = type(error).__name__
        print(error, file=printed)

    assert block.mark != "raises" or raised == block.value, f"{where}: raised {raised or 'nothing'}"

    if block.output is not None:
        assert same(printed.getvalue(), block.output), f"{where}: {printed.getvalue()}"


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path.cwd()))
    run(pathlib.Path(sys.argv[1]).resolve())
