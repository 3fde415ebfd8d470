"""Which config file a command means, and which manager it talks to."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import typer

from manager.errors import ManagerError
from manager.specs.project import project_directory
from manager.store.holder import local_manager_url

CONFIG_PATHS = (Path("config/agents.config.json"), Path("agents.config.json"))
DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE = "AGENT_MANAGER_URL"
# The overrides of the config's `managerUrl` and `stateDirectory`, which the manager itself obeys.
MANAGER_URL_OVERRIDE = "AGENT_MANAGER_MANAGER_URL"
STATE_DIRECTORY_OVERRIDE = "AGENT_MANAGER_STATE_DIRECTORY"
DEFAULT_STATE_DIRECTORY = ".state"


def find_config(directory: Path) -> Path | None:
    """The config under `directory` that is meant when none is named, or None."""
    return next((path for name in CONFIG_PATHS if (path := directory / name).is_file()), None)


def require_config(named: Path | None, directory: Path) -> Path:
    """The named config, be it there or not, else the one found. Raises `ManagerError` when none is."""
    path = directory / named if named else find_config(directory)
    if path is None:
        raise ManagerError(
            f"No config in {directory}: neither {CONFIG_PATHS[0].as_posix()} nor {CONFIG_PATHS[1]} is there; "
            "write one with `agent-manager init` or name it with --config."
        )
    return path


def shown(path: Path, directory: Path) -> str:
    """`path` as a person at `directory` would write it."""
    return str(path.relative_to(directory) if path.is_relative_to(directory) else path)


def manager_url(named: str | None, environ: Mapping[str, str], directory: Path) -> str:
    """Base URL of the manager, without a slash at the end.

    The one named, else the environment's, else that of the manager that holds the state directory, else the config's.

    Raises `typer.BadParameter` for a bad named one, `ManagerError` for a bad one from elsewhere.
    """
    if named is not None:
        if not _is_url(named):
            raise typer.BadParameter(f"must look like {DEFAULT_URL}, not {named!r}.", param_hint="--url")
        return named.rstrip("/")
    source, url = _configured_url(environ, directory)
    if not _is_url(url):
        raise ManagerError(f"{source} must look like {DEFAULT_URL}, not {url!r}; correct it or name --url.")
    return str(url).rstrip("/")


def _configured_url(environ: Mapping[str, str], directory: Path) -> tuple[str, object]:
    if environ.get(URL_VARIABLE):
        return URL_VARIABLE, environ[URL_VARIABLE]
    path = find_config(directory)
    runtime = _runtime_in(path, directory) if path else {}
    state_directory = _state_directory(environ, runtime, project_directory(path) if path else directory)
    if state_directory and (url := local_manager_url(state_directory)):
        return f"The address in {shown(state_directory, directory)}", url
    if environ.get(MANAGER_URL_OVERRIDE):
        return MANAGER_URL_OVERRIDE, environ[MANAGER_URL_OVERRIDE]
    if path is None:
        return "The default", DEFAULT_URL
    return f"managerUrl in {shown(path, directory)}", runtime.get("managerUrl", DEFAULT_URL)


def _state_directory(environ: Mapping[str, str], runtime: Mapping[str, object], base: Path) -> Path | None:
    written = environ.get(STATE_DIRECTORY_OVERRIDE) or runtime.get("stateDirectory", DEFAULT_STATE_DIRECTORY)
    return base / written if isinstance(written, str) else None


def _runtime_in(path: Path, directory: Path) -> dict[str, object]:
    """`runtime` as written: a request must not depend on the rest of the config being right."""
    try:
        config = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ManagerError(
            f"{shown(path, directory)} cannot be read for the manager's URL ({error}); correct it or name --url."
        ) from None
    runtime = config.get("runtime") if isinstance(config, dict) else None
    return runtime if isinstance(runtime, dict) else {}


def _is_url(url: object) -> bool:
    if not isinstance(url, str) or any(character.isspace() for character in url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0 and not parts.query


def is_loopback(host: str) -> bool:
    """Whether `host` (a name, or an address without brackets) can be this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
