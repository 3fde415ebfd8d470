"""`python -m agent_service`: one adapter, from argv and the environment to its exit status.

0 stopped or handed over · 1 failed · 2 wrong usage · 69 the port is taken · 78 a person must change something.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import structlog

from agent_service import contract
from agent_service.errors import AdapterError, ConfigError, EntryPointError, PortInUse
from agent_service.http.sockets import inherited
from agent_service.known_secrets import known_secrets
from agent_service.launch import Launch, read_launch
from agent_service.lifecycle import Ending
from agent_service.logs import LogReader, configure_logging
from agent_service.process import leave, succeed, successor_arguments
from agent_service.server import Ended, serve

log = structlog.stdlib.get_logger(__name__)


def main(public: socket.socket | None = None) -> NoReturn:
    """Run one adapter and leave with its exit status. `public`: a listening socket to serve besides its own."""
    directory = os.getcwd()
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        launch = _launch(sys.argv[1:])
        secrets = known_secrets(os.environ, launch.spec.definition, (launch.token, launch.token_previous))
        read_log = _open_log(launch, secrets)
        if public is None and launch.listen_fd is not None:
            public = inherited(launch.listen_fd)
        ended = serve(launch, read_log, public, secrets)
        if ended.ending is Ending.RESTART and not launch.managed:
            _restart(launch, ended, directory)
    except KeyboardInterrupt:
        log.info("Stopped before it served")
    except (PortInUse, ConfigError) as error:
        # Only the agent's own code has a traceback that helps.
        log.error(str(error), exc_info=error.__cause__ if isinstance(error, EntryPointError) else None)
        leave(contract.EXIT_PORT_IN_USE if isinstance(error, PortInUse) else contract.EXIT_CONFIG)
    except AdapterError as error:
        log.error(str(error), exc_info=error.__cause__)
        leave(1)
    except Exception:
        log.critical("The adapter failed", exc_info=True)
        leave(1)
    leave(0)


def _launch(argv: Sequence[str]) -> Launch:
    try:
        return read_launch(argv, os.environ)
    except ConfigError:
        # There is no agent yet to name in the log, only what the environment says.
        agent_id = os.environ.get(contract.ENV_AGENT_ID, "unknown")
        configure_logging(agent_id=agent_id, instance_id=os.environ.get(contract.ENV_INSTANCE_ID, "unknown"))
        raise


def _open_log(launch: Launch, secrets: Sequence[str]) -> LogReader:
    configure = partial(configure_logging, agent_id=launch.spec.id, instance_id=launch.instance_id, secrets=secrets)
    try:
        return configure(log_file=launch.log_file, copy=not launch.managed, limits=launch.log_limits)
    except OSError as error:
        configure()
        raise ConfigError(
            f"The log file {str(launch.log_file)!r} cannot be opened ({error.strerror}); choose another path."
        ) from error


def _restart(launch: Launch, ended: Ended, directory: str) -> NoReturn:
    arguments = successor_arguments(sys.orig_argv[1:], asked_port=launch.port, bound_port=ended.port)
    log.info("Restarting", port=ended.port)
    try:
        succeed(arguments, directory)
    except OSError as error:
        raise AdapterError(f"The restart failed: {error}; start the agent again by hand.") from error


if __name__ == "__main__":
    main()
