from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from agent_service.log_tail import BLOCK_BYTES, CUT_MARK, tail

GIGABYTE = 1024**3


class CountingFile(io.FileIO):
    """Counts what is read; `before_read` lets a test change the file between two reads."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        assert data is not None
        self.bytes_read += len(data)
        return data


def opened_by_tail(monkeypatch: pytest.MonkeyPatch, kind: type[CountingFile]) -> list[CountingFile]:
    """The files that `tail` opens from now on."""
    opened: list[CountingFile] = []

    def open_counting(path: Path, *_: object, **__: object) -> CountingFile:
        opened.append(kind(path))
        return opened[-1]

    monkeypatch.setattr(Path, "open", open_counting)
    return opened


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "lines", "expected"),
    [
        (b"", 5, []),
        (b"\n", 5, [""]),
        (b"a\nb\nc\n", 2, ["b", "c"]),
        (b"a\nb\nc\n", 3, ["a", "b", "c"]),
        (b"a\nb\nc\n", 99, ["a", "b", "c"]),
        (b"a\nb\nhalf", 2, ["b", "half"]),
        (b"a\r\nb\r\n", 5, ["a", "b"]),
        (b"a\n\n\n", 2, ["", ""]),
        (b"a\nb\n", 0, []),
        (b"a\nb\n", -3, []),
        ("grün\n日本\n".encode(), 5, ["grün", "日本"]),
        (b"\xff\xfe\nok\n", 5, ["\ufffd\ufffd", "ok"]),
        ("one\x0bstill one\u2028still one\n".encode(), 5, ["one\x0bstill one\u2028still one"]),
    ],
)
def test_newest_lines_oldest_first(tmp_path: Path, data: bytes, lines: int, expected: list[str]) -> None:
    assert tail(write(tmp_path / "a.log", data), lines) == expected


def test_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log", 10) == []


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"Is a directory|Permission denied"):
        tail(tmp_path, 10)


@pytest.mark.parametrize("length", [BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
def test_lines_longer_than_a_block_stay_whole(tmp_path: Path, length: int) -> None:
    first, second = "ä" * (length // 2), "b" * length
    path = write(tmp_path / "a.log", f"old\n{first}\n{second}\n".encode())
    assert tail(path, 2) == [first, second]
    assert tail(path, 3) == ["old", first, second]


@pytest.mark.parametrize("count", [1, 999, 20_000])
def test_agrees_with_reading_the_whole_file(tmp_path: Path, count: int) -> None:
    expected = [f"line {number} " + "x" * (number % 97) for number in range(20_000)]
    path = write(tmp_path / "a.log", "".join(f"{line}\n" for line in expected).encode())
    assert tail(path, count) == expected[-count:]


def test_a_gigabyte_costs_one_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.log"
    with path.open("wb") as file:
        file.seek(GIGABYTE)
        file.write(b"\n" + b"".join(b"line %d\n" % number for number in range(100)))
    opened = opened_by_tail(monkeypatch, CountingFile)

    assert tail(path, 3) == ["line 97", "line 98", "line 99"]
    assert opened[0].bytes_read <= BLOCK_BYTES
    assert opened[0].closed


def test_a_monstrous_line_is_cut_and_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "monster.log"
    with path.open("wb") as file:
        file.write(b"never seen\n")
        file.seek(GIGABYTE)
        file.write(b"end of monster\nlast\n")
    opened = opened_by_tail(monkeypatch, CountingFile)

    monster, last = tail(path, 50, max_bytes=1000)
    assert last == "last"
    assert monster.startswith(CUT_MARK) and monster.endswith("\0end of monster")
    assert opened[0].bytes_read == 1000


def test_nothing_before_start_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.log", b"old run\nnew 1\nnew 2\n")
    assert tail(path, 10, start=len(b"old run\n")) == ["new 1", "new 2"]
    assert tail(path, 10, start=path.stat().st_size) == []


def test_start_beyond_the_end_reads_nothing(tmp_path: Path) -> None:
    assert tail(write(tmp_path / "a.log", b"short\n"), 10, start=5_000) == []


def test_file_truncated_while_it_is_read_gives_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.log", b"first\n" + b"x" * 2 * BLOCK_BYTES + b"\nlast\n")

    class TruncatedAfterFirstRead(CountingFile):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            os.truncate(path, 0)
            return data

    opened = opened_by_tail(monkeypatch, TruncatedAfterFirstRead)
    lines = tail(path, 10)
    assert lines[-1] == "last"
    assert lines[0].startswith(CUT_MARK)
    assert len(opened) == 1
