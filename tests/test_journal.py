"""The file of an embedded engine: its records, and what becomes of damaged ones."""

from __future__ import annotations

import collections.abc as cabc
import os
import pathlib
import tempfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import interpreter
from dynamo_ext.local import journal
from dynamo_ext.local.journal import Journal
from dynamo_ext.local.journal import RefusedFile

pytestmark = pytest.mark.once(reason="a file is written and read")

HEADER = b"dynamo-ext tables, format 1\n"
TEXTS = st.lists(
    st.text(st.characters(min_codepoint=32, max_codepoint=126)), min_size=1, max_size=5
)


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "todo.db"


def write(path: pathlib.Path, *texts: str) -> bytes:
    """Write a file with these records; return its bytes."""
    written = Journal(path)
    assert list(written.read()) == []

    for text in texts:
        written.append(text)

    written.close()
    return path.read_bytes()


def read(path: pathlib.Path) -> tuple[list[str], journal.Damage | None]:
    opened = Journal(path)
    texts = [text.decode() for text in opened.read()]
    opened.close()
    return texts, opened.damage


def read_and_add(content: bytes) -> tuple[list[str], list[str]]:
    """What is read of a file with this content, and what after one more record was added."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "file")
        path.write_bytes(content)
        opened = Journal(path)
        first = [text.decode() for text in opened.read()]
        opened.append("added")
        opened.close()
        second, damage = read(path)
        assert damage is None
        return first, second


def content_of(texts: cabc.Sequence[str]) -> bytes:
    """The bytes of a file with these records: what each release must be able to read."""
    lines = [f"{zlib.crc32(text.encode()):08x} {text}\n" for text in texts]
    return HEADER + "".join(lines).encode()


def test_records_come_back_in_their_order(file: pathlib.Path) -> None:
    content = write(file, "one", "", '{"two":2}')
    assert content == content_of(["one", "", '{"two":2}'])
    assert read(file) == (["one", "", '{"two":2}'], None)
    assert file.read_bytes() == content


@given(texts=TEXTS, data=st.data())
def test_cut_anywhere_the_records_before_are_there(texts: list[str], data: st.DataObject) -> None:
    content = content_of(texts)
    size = data.draw(st.integers(0, len(content)))
    ends = [len(content_of(texts[:count])) for count in range(len(texts) + 1)]
    whole = sum(end <= size for end in ends[1:])
    first, second = read_and_add(content[:size])
    assert first == texts[:whole]
    assert second == [*first, "added"]


@given(texts=TEXTS, data=st.data())
def test_any_byte_of_the_last_record_may_be_another_one(
    texts: list[str], data: st.DataObject
) -> None:
    content = bytearray(content_of(texts))
    begin = len(content_of(texts[:-1]))
    at = data.draw(st.integers(begin, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    first, second = read_and_add(bytes(content))
    assert first == texts[:-1]
    assert second == [*texts[:-1], "added"]


@given(texts=TEXTS, garbage=st.binary(min_size=1))
def test_what_is_not_a_record_is_cut_off_at_the_end(texts: list[str], garbage: bytes) -> None:
    content = content_of(texts)

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "file")
        path.write_bytes(content + garbage)
        assert read(path) == (texts, journal.Damage(len(content), len(garbage)))
        assert path.read_bytes() == content


def test_damage_before_whole_records_is_refused_and_left_alone(file: pathlib.Path) -> None:
    content = write(file, "one", "two", "three").replace(b"two", b"TWO")
    file.write_bytes(content)

    with pytest.raises(RefusedFile) as refused:
        read(file)

    offset = content.index(b"TWO") - len("00000000 ")
    assert f"is damaged at byte {offset}, but whole records follow" in str(refused.value)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"SQLite format 3\x00" + bytes(84), "is not a file of the embedded engine"),
        (b"title,done\n", "is not a file of the embedded engine"),
        (b"\n", "is not a file of the embedded engine"),
        (b"dynamo-ext tables, format x\n", "is not a file of the embedded engine"),
        (b"dynamo-ext tables, format\n", "is not a file of the embedded engine"),
        (b"dynamo-ext tables, format 2\nand more\n", "has format 2, and this release"),
        (b"dynamo-ext tables, format 11\n", "has format 11, and this release"),
        (bytes(5000), "is not a file of the embedded engine"),
    ],
)
def test_file_of_another_kind_or_format_is_refused_and_left_alone(
    file: pathlib.Path, content: bytes, message: str
) -> None:
    file.write_bytes(content)

    for open_file in (journal.check, Journal):
        with pytest.raises(RefusedFile) as refused:
            open_file(file)

        assert str(refused.value).startswith(f"{str(file)!r} {message}")

    assert file.read_bytes() == content


@pytest.mark.parametrize("size", range(len(HEADER)))
def test_file_whose_header_was_not_wholly_written_is_empty(file: pathlib.Path, size: int) -> None:
    file.write_bytes(HEADER[:size])
    journal.check(file)
    texts, damage = read(file)
    assert texts == []
    assert damage == (journal.Damage(0, size) if size else None)
    assert file.read_bytes() == HEADER


def test_record_is_not_written_into_a_file_that_was_replaced(file: pathlib.Path) -> None:
    opened = Journal(file)
    list(opened.read())
    file.rename(file.with_name("away"))

    with pytest.raises(FileNotFoundError, match="was removed or replaced"):
        opened.append("one")

    write(file, "other")

    with pytest.raises(FileNotFoundError, match="was removed or replaced"):
        opened.append("one")

    opened.close()
    assert read(file) == (["other"], None)
    assert read(file.with_name("away")) == ([], None)


def test_file_that_is_written_anew_holds_only_what_it_is_given(file: pathlib.Path) -> None:
    write(file, *map(str, range(100)))
    file.chmod(0o640)
    opened = Journal(file)
    list(opened.read())
    opened.rewrite(["a", "b"])
    opened.append("c")
    opened.close()
    assert read(file) == (["a", "b", "c"], None)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in file.parent.iterdir()] == ["todo.db"]


def test_file_that_cannot_be_written_anew_stays_as_it_is(file: pathlib.Path) -> None:
    content = write(file, "one")
    file.with_name("todo.db.new").mkdir()
    opened = Journal(file)
    list(opened.read())

    with pytest.raises(IsADirectoryError):
        opened.rewrite(["a"])

    assert file.read_bytes() == content
    opened.append("two")
    opened.close()
    assert read(file) == (["one", "two"], None)


# In a process of its own: threads of other tests open files, too.
OF_FEW_FILES = """
import os, pathlib, resource, sys

from dynamo_ext.local.journal import Journal

file, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
opened = Journal(file)
list(opened.read())
taken = [os.open(os.devnull, os.O_RDONLY)]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

try:
    while True:
        taken.append(os.dup(taken[0]))
except OSError:
    pass

for _ in range(count):
    os.close(taken.pop())

try:
    opened.rewrite(["one", "two"])
    print("rewritten")
except OSError as error:
    print(error.strerror)

# What is opened now may get the number of a file that was closed.
others = [os.open(file.with_name("other"), os.O_RDWR | os.O_CREAT) for _ in range(count)]
opened.append("three")
# A reload, as after a write that failed, needs no further descriptor.
assert list(opened.read())[-1] == b"three"
opened.close()
"""


@pytest.mark.parametrize("count", range(3))
def test_file_takes_records_however_few_files_may_be_open(file: pathlib.Path, count: int) -> None:
    write(file, "one")

    with interpreter.running(OF_FEW_FILES, str(file), str(count)) as process:
        assert process.end() == ("rewritten\n" if count else "Too many open files\n")

    assert read(file) == (["one", *(["two"] if count else []), "three"], None)
    assert count == 0 or file.with_name("other").read_bytes() == b""


def test_file_that_is_not_replaced_takes_records(file: pathlib.Path) -> None:
    write(file, "one")
    opened = Journal(file)
    list(opened.read())
    away = file.rename(file.with_name("away"))
    file.mkdir()

    with pytest.raises(IsADirectoryError):
        opened.rewrite(["two"])

    file.rmdir()
    away.rename(file)
    opened.append("three")
    opened.close()
    assert read(file) == (["one", "three"], None)
    assert [each.name for each in file.parent.iterdir()] == ["todo.db"]


def test_closed_file_refuses_records(file: pathlib.Path) -> None:
    """The number of its descriptor may be another file's by now."""
    opened = Journal(file)
    list(opened.read())
    opened.close()
    opened.close()

    with file.with_name("other").open("wb"), pytest.raises(OSError, match="Bad file descriptor"):
        opened.append("one")

    assert file.with_name("other").read_bytes() == b""
    assert read(file) == ([], None)


def test_file_that_was_shortened_refuses_records(file: pathlib.Path) -> None:
    """Else zeros would fill the gap, behind which nobody would find the record."""
    write(file, "one", "two")
    opened = Journal(file)
    list(opened.read())
    os.truncate(file, len(content_of(["one"])))

    with pytest.raises(OSError, match="was shortened by another program"):
        opened.append("three")

    assert list(opened.read()) == [b"one"]
    opened.append("three")
    opened.close()
    assert read(file) == (["one", "three"], None)
