"""Where a process listens."""

from __future__ import annotations

import asyncio
from urllib.parse import urlunsplit

import psutil

# Where a socket that takes connections to every address of the machine can be reached from here.
_OWN_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


async def listening_urls(pid: int) -> list[str]:
    """The URLs at which process `pid` would answer HTTP; none where it has gone or may not be looked at."""
    return await asyncio.to_thread(_urls, pid)


def _urls(pid: int) -> list[str]:
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return []
    return [_url(each.laddr.ip, each.laddr.port) for each in connections if each.status == psutil.CONN_LISTEN]


def _url(address: str, port: int) -> str:
    host = _OWN_ADDRESS.get(address, address)
    return urlunsplit(("http", f"[{host}]:{port}" if ":" in host else f"{host}:{port}", "", "", ""))
