"""The newest lines of a log file, read backwards from its end: as fast for 1 GB as for 1 KB.

Imports the standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from agent_service.log_files import rotated_files
from agent_service.log_space import data_start

BLOCK_BYTES = 64 * 1024
MAX_BYTES = 8 * 1024 * 1024
CUT_MARK = "[… line cut here …] "


def tail_log(path: Path, lines: int) -> list[str]:
    """As `tail`, of a log: what its file that is written does not have comes from those that were rotated.

    Raises OSError.
    """
    while True:
        found = tail(path, lines)
        if len(found) >= lines:
            return found
        before = rotated_files(path)
        found = tail(path, lines)
        # A rotation in between would show the same lines in both.
        if [each.number for each in rotated_files(path)] == [each.number for each in before]:
            break
    for file in reversed(before):
        if len(found) < lines:
            found = tail(file.path, lines - len(found)) + found
    return found


def tail(path: Path, lines: int, *, max_bytes: int = MAX_BYTES, start: int = 0) -> list[str]:
    """The newest `lines` lines of `path`, oldest first, without their line ends (`\\n` or `\\r\\n`).

    A last line that has no newline yet counts. Bytes that are not UTF-8 become U+FFFD. Only the last
    `max_bytes` bytes are read, and none before the byte offset `start` or of a beginning that was released.
    Where that ends inside a line (a monstrous one), the rest of it comes first, after `CUT_MARK`, and nothing
    older. A missing file has no lines.

    Raises OSError where the file is there and cannot be read.
    """
    if lines <= 0:
        return []
    try:
        with path.open("rb", buffering=0) as file:
            data, whole = _read_back(file, lines, max_bytes, start)
    except FileNotFoundError:
        return []
    return _split(data, lines, whole)


def _read_back(file: BinaryIO, lines: int, max_bytes: int, start: int) -> tuple[bytes, bool]:
    """The end of the file, at least `lines` lines long where it can be, and whether it begins at `start`."""
    start = max(start, data_start(file.fileno()))
    position = file.seek(0, os.SEEK_END)
    floor = max(start, position - max_bytes)
    blocks: list[bytes] = []
    newlines = 0
    # The newline that ends the last line separates nothing: one more than `lines` are looked for.
    while position > floor and newlines <= lines:
        size = min(BLOCK_BYTES, position - floor)
        file.seek(position - size)
        block = file.read(size)
        if len(block) < size and blocks:
            break  # truncated meanwhile: what was read before this block does not continue it any more
        blocks.append(block)
        newlines += block.count(b"\n")
        position -= size
    return b"".join(reversed(blocks)), position <= start


def _split(data: bytes, lines: int, whole: bool) -> list[str]:
    """`data` as its last `lines` lines; the first one is marked when it is part of a line."""
    parts = data.removesuffix(b"\n").split(b"\n") if data else []
    texts = [part.removesuffix(b"\r").decode("utf-8", errors="replace") for part in parts[-lines:]]
    if not whole and len(parts) <= lines and texts:
        texts[0] = CUT_MARK + texts[0]
    return texts
