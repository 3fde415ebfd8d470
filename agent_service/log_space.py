"""What Linux can do for a file that another program goes on writing to: tell that it does, and free its beginning.

Elsewhere nobody is known to write, and nothing is freed. Imports the standard library only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Of every file system that can free a part of a file.
_BLOCK_BYTES = 4096


def data_start(descriptor: int) -> int:
    """The offset of the first byte that was not released; 0 where nothing was."""
    if sys.platform == "win32":
        return 0
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        return os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError:
        # There is no data at all, or this is no file that could have holes.
        return 0
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)


if sys.platform == "linux":
    import ctypes
    import errno
    import fcntl
    import signal

    # linux/fcntl.h
    _F_SETSIG = 10
    # linux/falloc.h: the size stays, so that nobody's offset changes.
    _KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02

    def has_writer(path: Path) -> bool:
        """Whether any process has the file open for writing: no read lease is given on it then (fcntl(2)).

        Only the owner of a file, or root, is given one at all; of others' files it is taken that nobody does.
        """
        with path.open("rb") as file:
            # Whoever opens it for writing in this moment interrupts us: by SIGIO, which kills, were it not for this.
            fcntl.fcntl(file, _F_SETSIG, signal.SIGURG)
            try:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            except OSError as error:
                return error.errno == errno.EAGAIN
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            return False

    def release(path: Path, keep_bytes: int) -> None:
        """Free all of the file but its last `keep_bytes` and the rest of a block, which stay where they are.

        Nobody's write is touched by it, at whatever moment it comes. Raises OSError.
        """
        with path.open("r+b") as file:
            end = os.fstat(file.fileno()).st_size - keep_bytes
            length = end // _BLOCK_BYTES * _BLOCK_BYTES
            if length <= 0:
                return
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.fallocate(file.fileno(), _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_long(0), ctypes.c_long(length)) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), str(path))

else:

    def has_writer(path: Path) -> bool:
        """Not to be found out."""
        return False

    def release(path: Path, keep_bytes: int) -> None:
        """Not to be done here: the file is let go as a whole, once it is its turn."""
