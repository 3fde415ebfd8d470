"""The ports that the manager and its agents want: free, theirs already, or taken by somebody else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import psutil

from agent_service.contract import ENV_INSTANCE_ID
from manager.diagnosis.finding import Finding, error, warning, well
from manager.diagnosis.naming import process_text
from manager.diagnosis.surroundings import Surroundings

_FIRST_UNPRIVILEGED = 1024


def check_ports(around: Surroundings) -> Iterator[Finding]:
    """Of the manager and of every agent that has one."""
    if around.config is None:
        return
    try:
        listening = _listeners()
    except psutil.AccessDenied:
        why = "The system shows who listens to root only, so ports were not looked at"
        yield warning("ports", why, "run `sudo agent-manager doctor` to have them looked at")
        return
    wanted = {around.config.runtime.manager_port: "the manager"}
    wanted |= {agent.port: agent.id for agent in around.config.agents if agent.port is not None}
    for port, owner in wanted.items():
        yield _taken(port, owner, listening[port], around) if port in listening else _free(port, owner)


def _listeners() -> dict[int, int | None]:
    """Who listens at which TCP port, by pid; None for another user's process. Raises `psutil.AccessDenied`."""
    found = psutil.net_connections(kind="tcp")
    return {each.laddr.port: each.pid for each in found if each.status == psutil.CONN_LISTEN and each.laddr}


def _free(port: int, owner: str) -> Finding:
    if sys.platform != "win32" and port < _FIRST_UNPRIVILEGED and os.geteuid() != 0:
        message = f"Port {port} of {owner} may be for root only on this system"
        return warning("ports", message, "choose one of 1024 or above, or set net.ipv4.ip_unprivileged_port_start")
    return well("ports", f"Port {port} of {owner} is free")


def _taken(port: int, owner: str, pid: int | None, around: Surroundings) -> Finding:
    if around.holder is not None and pid == around.holder.pid:
        return well("ports", f"Port {port} of {owner} is served by the running manager")
    if owner != "the manager" and pid is not None and _is_ours(pid):
        return well("ports", f"Port {port} of {owner} is held by an agent's process or a fork server (pid {pid})")
    whom = "a process of another user" if pid is None else process_text(pid)
    key = "`managerUrl`, or start with --port" if owner == "the manager" else f"`port` of {owner}"
    return error("ports", f"Port {port} of {owner} is taken by {whom}", f"stop that process, or change {key}")


def _is_ours(pid: int) -> bool:
    """Whether a manager of this project has started it: its environment says so, a fork server's as well."""
    try:
        return ENV_INSTANCE_ID in psutil.Process(pid).environ()
    except psutil.Error:
        return False
