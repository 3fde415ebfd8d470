"""How one adapter is started: a spec, an address and a manager, from the environment and the command line."""

from __future__ import annotations

import argparse
import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from agent_service import contract
from agent_service.contract import AdapterStatus, AgentSpec, InstanceId, ServiceUrl
from agent_service.errors import ConfigError
from agent_service.issues import issues_of, keys_of, unknown_keys
from agent_service.log_files import LogLimits
from agent_service.tracing.settings import TracingSettings, read_tracing

LOOPBACK = "127.0.0.1"
DEFAULT_LOG_LIMITS = LogLimits(max_bytes=64 * 1024**2, max_files=5)

_SERVICE_URL: TypeAdapter[str] = TypeAdapter(ServiceUrl)
_INSTANCE_ID: TypeAdapter[str] = TypeAdapter(InstanceId)

# Bytes of a file that holds a spec or a definition.
MAX_FILE_BYTES = 16 * 1024 * 1024

# Options that are keys of the spec; argv wins over the environment.
_SPEC_OPTIONS = (
    "id",
    "name",
    "description",
    "entry_point",
    "default_model",
    "metadata",
    "drain_timeout_seconds",
    "max_concurrency",
    "max_queue",
    "definition",
)


@dataclass(frozen=True)
class Launch:
    """All that a start needs. `managed`: the manager started this process and will start its successor.

    `listen_fd`: a listening socket that this process inherited, to be served besides its own.
    """

    spec: AgentSpec
    instance_id: str
    host: str = LOOPBACK
    port: int = 0
    manager_url: str | None = None
    log_file: Path | None = None
    initial_status: AdapterStatus = AdapterStatus.RUNNING
    managed: bool = False
    listen_fd: int | None = None
    token: str | None = field(default=None, repr=False)
    token_previous: str | None = field(default=None, repr=False)
    log_limits: LogLimits = DEFAULT_LOG_LIMITS
    tracing: TracingSettings | None = None
    tracing_trouble: str = ""
    """Why there are no traces though the environment asks for them; the agent serves all the same."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Every token that is valid now; none of them when tokens are off."""
        return tuple(token for token in (self.token, self.token_previous) if token) if self.token else ()


def read_launch(argv: Sequence[str], environ: Mapping[str, str]) -> Launch:
    """The launch that argv and the environment ask for; argv wins.

    Raises `ConfigError` for what the environment got wrong; exits with status 2 for what argv got wrong.
    """
    # Started by the manager it has none, and a forked adapter is spared the megabyte that the parser touches.
    options = vars(_parser().parse_args(argv)) if argv else {}
    base = _base_spec(environ)
    if state_directory := environ.get(contract.ENV_STATE_DIRECTORY):
        base["state_directory"] = state_directory
    given = {name: options[name] for name in _SPEC_OPTIONS if name in options}
    if "id" not in base and "id" not in given:
        _parser().error("--id is required: the id of the agent, lower-case letters, digits, - and _")
    try:
        spec = _spec({**base, **given})
        host = options.get("host") or environ.get(contract.ENV_HOST) or LOOPBACK
        manager_url = options.get("manager_url") or environ.get(contract.ENV_MANAGER_URL)
        if manager_url is not None:
            _check(_SERVICE_URL, manager_url, "The manager's URL")
    except ConfigError as error:
        if given or "manager_url" in options:
            _parser().error(str(error))
        raise
    log_file = options.get("log_file") or environ.get(contract.ENV_LOG_FILE)
    launch = Launch(
        spec=spec,
        instance_id=_instance_id(spec, environ),
        host=host,
        port=options["port"] if "port" in options else _port(environ.get(contract.ENV_PORT, "0")),
        manager_url=manager_url.rstrip("/") if manager_url else None,
        log_file=Path(log_file) if log_file else None,
        initial_status=_initial_status(environ.get(contract.ENV_INITIAL_STATUS, "running")),
        managed=contract.ENV_SPEC in environ or contract.ENV_SPEC_FILE in environ,
        listen_fd=_listen_fd(environ.get(contract.ENV_LISTEN_FD)),
        token=environ.get(contract.ENV_TOKEN) or None,
        token_previous=environ.get(contract.ENV_TOKEN_PREVIOUS) or None,
        log_limits=_log_limits(environ),
        **_tracing(environ),
    )
    _refuse_open_door(launch)
    return launch


def is_loopback(host: str) -> bool:
    """`host` can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agent_service",
        description="Serve one agent over HTTP.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--id", help="id of the agent: lower-case letters, digits, - and _")
    add("--name", help="name for people; the id when absent")
    add("--description", help="what the agent does, in a sentence")
    add("--entry-point", help="dummy (the default), package.module:attribute, or react for an agent from data")
    add("--definition", type=_json_file, metavar="PATH", help="a JSON file with the definition of an agent from data")
    add("--default-model", help="the model that the agent uses, shown by /info")
    add("--metadata", type=_json_object, metavar="JSON", help="a JSON object, shown by /info and told the manager")
    add("--drain-timeout-seconds", type=float, metavar="S", help="how long a stop waits for tasks in flight (30)")
    add("--max-concurrency", type=int, metavar="N", help="tasks that run at once (256)")
    add("--max-queue", type=int, metavar="N", help="tasks that wait for a slot (1024)")
    add("--host", help=f"address to bind ({LOOPBACK}); any but loopback needs {contract.ENV_TOKEN}")
    add("--port", type=_port_option, help="port to bind; 0, the default, lets the operating system pick one")
    add("--manager-url", metavar="URL", help="manager to register with; none when absent")
    add("--log-file", metavar="PATH", help="file that gets a copy of everything on stdout and stderr")
    return parser


def _json_object(text: str | bytes) -> dict[str, Any]:
    try:
        value = from_json(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value


def _json_file(text: str) -> dict[str, Any]:
    try:
        return _json_object(_read("--definition", Path(text)))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _port_option(text: str) -> int:
    try:
        return _port(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _base_spec(environ: Mapping[str, str]) -> dict[str, Any]:
    name = contract.ENV_SPEC if contract.ENV_SPEC in environ else contract.ENV_SPEC_FILE
    if name not in environ:
        agent_id = environ.get(contract.ENV_AGENT_ID)
        return {"id": agent_id} if agent_id else {}
    text = environ[name] if name == contract.ENV_SPEC else _read(name, Path(environ[name]))
    try:
        value = from_json(text)
    except ValueError as error:
        raise ConfigError(f"{name} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{name} is not a JSON object; it must hold an agent's spec.")
    return _spec(value).model_dump(by_alias=False)


def _read(name: str, path: Path) -> bytes:
    """What a file holds that `name` told of. Raises `ConfigError`."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{name} is the file {str(path)!r} of more than 16 MiB; make it smaller.")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{name} is the file {str(path)!r}, which cannot be read ({error.strerror}).") from error


def _spec(value: Mapping[str, Any]) -> AgentSpec:
    keys = {name: key for key, name in keys_of(AgentSpec).items()}
    spec = {"name": value.get("id"), **{keys.get(name, name): member for name, member in value.items()}}
    try:
        return AgentSpec.model_validate(spec)
    except ValidationError as error:
        issues = [*unknown_keys(AgentSpec, spec, ""), *issues_of(error, AgentSpec, "")]
        raise ConfigError(f"The agent's spec is wrong: {'; '.join(map(str, issues))}.") from error


def _check(kind: TypeAdapter[str], value: str, name: str) -> None:
    try:
        kind.validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{name} {value!r} is wrong: {error.errors(include_url=False)[0]['msg']}.") from error


def _instance_id(spec: AgentSpec, environ: Mapping[str, str]) -> str:
    given = environ.get(contract.ENV_INSTANCE_ID)
    if not given:
        return f"{spec.id}-{uuid.uuid4().hex[:12]}"
    _check(_INSTANCE_ID, given, contract.ENV_INSTANCE_ID)
    return given


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65_535):
        raise ConfigError(f"The port {text!r} is not a whole number from 0 to 65535; 0 lets the system pick one.")
    return int(text)


def _log_limits(environ: Mapping[str, str]) -> LogLimits:
    return LogLimits(
        max_bytes=_whole(environ, contract.ENV_LOG_MAX_BYTES, DEFAULT_LOG_LIMITS.max_bytes),
        max_files=max(2, _whole(environ, contract.ENV_LOG_MAX_FILES, DEFAULT_LOG_LIMITS.max_files)),
    )


def _tracing(environ: Mapping[str, str]) -> dict[str, Any]:
    # These variables are not ours alone: what the agent's own code makes of them may be right.
    try:
        return {"tracing": read_tracing(environ)}
    except ConfigError as error:
        return {"tracing_trouble": str(error)}


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0):
        raise ConfigError(f"{name} is {text[:40]!r}; set it to a whole number from 1 on.")
    return int(text)


def _listen_fd(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 2):
        raise ConfigError(f"{contract.ENV_LISTEN_FD} is {text!r}; set it to an inherited descriptor, 3 or more.")
    return int(text)


def _initial_status(text: str) -> AdapterStatus:
    if text not in (AdapterStatus.RUNNING, AdapterStatus.PAUSED):
        raise ConfigError(f"{contract.ENV_INITIAL_STATUS} is {text!r}; set it to running or paused.")
    return AdapterStatus(text)


def _refuse_open_door(launch: Launch) -> None:
    if launch.token is None and not is_loopback(launch.host):
        raise ConfigError(
            f"Refusing to bind {launch.host} without a token: everybody who reaches it could run the agent. "
            f"Set {contract.ENV_TOKEN}, or bind {LOOPBACK}."
        )
