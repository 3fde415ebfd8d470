"""A cgroup (v2) of its own for each instance, where the system lets us make one: nothing that it starts can leave it.

That is so under systemd with `Delegate=yes`, and for root. No controller is switched on, so the processes above may
stay where they are. Elsewhere there are no groups, and what an instance leaves behind is known by its session and its
environment. Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_PREFIX = "agent-manager."
_MOUNT = re.compile(r"^\S+ \S+ \S+ (?P<root>\S+) (?P<point>\S+) .* - cgroup2 ", re.MULTILINE)
_OWN = re.compile(r"^0::(?P<path>/.*)$", re.MULTILINE)


class Cgroup:
    """The group of one instance. Everything about one that is not there any more is harmless."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def enter(self) -> None:
        """Move this very process in; what it starts is born there. Without the group it stays where it is."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.procs").write_text("0")

    def kill(self) -> None:
        """End all that is in it, at once."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    @property
    def is_empty(self) -> bool:
        """Nothing lives in it, nor below it."""
        try:
            return "populated 0" in (self.path / "cgroup.events").read_text(encoding="ascii")
        except OSError:
            return True

    def processes(self) -> list[int]:
        """What lives in it and below it, by pid."""
        found: set[int] = set()
        for directory, _, _ in os.walk(self.path):
            with contextlib.suppress(OSError):
                found.update(map(int, (Path(directory) / "cgroup.procs").read_text(encoding="ascii").split()))
        return sorted(found)

    def remove(self) -> None:
        """Take an empty one away, with those that the instance has made below it."""
        for directory, _, _ in os.walk(self.path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)


class Cgroups:
    """Those that we may make, side by side in our own group; none where `parent` is None."""

    def __init__(self, parent: Path | None) -> None:
        self._parent = parent

    @property
    def can_be(self) -> bool:
        """Whether this system lets us make any."""
        return self._parent is not None

    def make(self, instance_id: str) -> Cgroup | None:
        """A new, empty one; None where there can be none."""
        group = self.of(instance_id)
        if group is None or self._parent is None:
            return None
        try:
            os.mkdir(self._parent / f"{_PREFIX}{instance_id}")
        except FileExistsError:
            return group
        except OSError:
            return None
        return group

    def of(self, instance_id: str) -> Cgroup | None:
        """The one that an instance has, if it has one."""
        return None if self._parent is None else Cgroup(self._parent / f"{_PREFIX}{instance_id}")

    def remove_empty(self) -> None:
        """Take away what nobody took away who was killed himself."""
        for path in self._left():
            Cgroup(path).remove()

    def _left(self) -> Iterator[Path]:
        return iter(()) if self._parent is None else self._parent.glob(f"{_PREFIX}*")


def find_cgroups() -> Cgroups:
    """Those below the group of this process, if it may make any there."""
    return Cgroups(_delegated(_told_of_us("mountinfo"), _told_of_us("cgroup")))


def instance_groups() -> dict[str, Cgroup]:
    """By instance id every group on this machine that we may remove; who made it may have been elsewhere than us."""
    mount = _MOUNT.search(_told_of_us("mountinfo"))
    found: dict[str, Cgroup] = {}
    for directory, below, _ in os.walk(mount["point"]) if mount else ():
        for name in [name for name in below if name.startswith(_PREFIX)]:
            below.remove(name)
            if _is_writable(Path(directory)):
                found[name.removeprefix(_PREFIX)] = Cgroup(Path(directory) / name)
    return found


def _told_of_us(name: str) -> str:
    try:
        return (_PROC / "self" / name).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _delegated(mounts: str, own: str) -> Path | None:
    mount, found = _MOUNT.search(mounts), _OWN.search(own)
    if mount is None or found is None or not found["path"].startswith(mount["root"].rstrip("/")):
        return None
    path = Path(mount["point"]) / found["path"].removeprefix(mount["root"]).lstrip("/")
    # A process comes from our own group, so its list must be ours to write as well.
    return path if _is_writable(path) and os.access(path / "cgroup.procs", os.W_OK) else None


def _is_writable(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)
