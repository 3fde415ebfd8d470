"""nginx as a reverse proxy before one adapter: one worker, keep-alive on both sides, access log, no buffering."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.benchmarks.client import until_answered
from scripts.benchmarks.daemon import running
from scripts.benchmarks.fleet import Agent
from scripts.benchmarks.ports import free_ports
from scripts.benchmarks.systems.system import CONTROL_EVERY, CONTROL_SECONDS
from scripts.benchmarks.wrk import program

_CONFIG = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/client_body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 10m;
    keepalive_requests 100000000;
    upstream adapter {{
        server 127.0.0.1:{adapter};
        keepalive 512;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{
            proxy_pass http://adapter;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host 127.0.0.1;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"""


@asynccontextmanager
async def nginx(directory: Path, agent: Agent) -> AsyncIterator[int]:
    """The port of an nginx before the agent's own port."""
    (port,) = free_ports(1, besides=[agent.port])
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(directory=directory, adapter=agent.port, port=port), encoding="utf-8")
    with running((program("nginx"), "-p", directory, "-c", config), directory / "output.log"):
        await until_answered(port, "GET", "/health", every=CONTROL_EVERY, seconds=CONTROL_SECONDS)
        yield port
