"""The operating system's user that an agent runs as."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from agent_service.errors import ConfigError


@dataclass(frozen=True)
class Account:
    """A user with all its groups. `must_switch`: a process of ours has to change to it."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    must_switch: bool


def find_account(user: str) -> Account:
    """The account of that name. Raises `ConfigError` where there is none, or where we may not become it."""
    if sys.platform == "win32":
        raise ConfigError("Agents cannot run as another user on Windows; leave the agent's user out.")
    import pwd

    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(
            f"There is no user {user!r} on this machine; create it, or correct the agent's user."
        ) from None
    me = os.geteuid()
    if me not in (0, found.pw_uid):
        raise ConfigError(f"Only a manager that runs as root can start an agent as {user!r}; leave its user out.")
    groups = tuple(os.getgrouplist(user, found.pw_gid))
    return Account(user, found.pw_uid, found.pw_gid, groups, must_switch=me != found.pw_uid)
