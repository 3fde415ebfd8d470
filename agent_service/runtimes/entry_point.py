"""From the `entryPoint` of a spec to the runtime that runs it."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from agent_service.contract import AgentSpec
from agent_service.errors import EntryPointError
from agent_service.runtimes.callables import CallableRuntime
from agent_service.runtimes.dummy import DummyRuntime
from agent_service.runtimes.protocol import Runtime
from agent_service.runtimes.runnables import (
    GraphRuntime,
    RunnableRuntime,
    is_graph,
    is_runnable,
    is_uncompiled_graph,
)
from agent_service.runtimes.threads import Threads

_FORM = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(\.[^\W\d]\w*)*)")


def load_runtime(spec: AgentSpec) -> Runtime:
    """The runtime of `spec.entry_point`; imports the agent's own code. Raises `EntryPointError`."""
    name = spec.entry_point
    if name == "dummy":
        return DummyRuntime()
    if name == "react":
        return _from_data(spec)
    if name is None or (match := _FORM.fullmatch(name)) is None:
        raise EntryPointError(
            f"The entry point {name!r} is not of the form package.module:attribute; correct entryPoint in the config."
        )
    module = import_module(name, match["module"])
    return runtime_of(name, find(name, module, match["attribute"]), spec.max_concurrency)


def _from_data(spec: AgentSpec) -> Runtime:
    if spec.definition is None:
        raise EntryPointError('The entry point "react" needs a definition; give the agent one, or another entry point.')
    # Imported here, because LangChain takes seconds and 100 MB that no other agent needs.
    from agent_service.runtimes.react.references import References
    from agent_service.runtimes.react.runtime import ReactRuntime
    from agent_service.runtimes.tools.toolbox import Toolbox

    directory = Path.cwd()
    resolve = References(os.environ, directory).resolve
    toolbox = Toolbox(spec.definition.capabilities.mcp_servers, resolve)
    threads = directory / (spec.state_directory or f".state/threads/{spec.id}")
    return ReactRuntime(spec.definition, toolbox, resolve, threads)


def import_module(name: str, module: str) -> ModuleType:
    """The module of the entry point `name`. Raises `EntryPointError` whatever its code does."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise EntryPointError(
                f"The entry point {name!r} cannot be imported: there is no module {error.name!r} "
                f"({type(error).__name__}: {error}). "
                "Correct entryPoint, install the package, or start in its directory."
            ) from error
        raise _import_failed(name, error) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _import_failed(name, error) from error


def find(name: str, module: ModuleType, attribute: str) -> Any:
    """What the entry point `name` means in its module. Raises `EntryPointError`."""
    value: Any = module
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            close = difflib.get_close_matches(part, [each for each in dir(value) if not each.startswith("_")])
            hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise EntryPointError(
                f"The entry point {name!r} cannot be used: {module.__name__!r} has no {attribute!r} "
                f"({type(error).__name__}: {error}). Correct entryPoint or define it there.{hint}"
            ) from error
    return value


def runtime_of(name: str, value: Any, max_concurrency: int) -> Runtime:
    """The runtime for what was found. Raises `EntryPointError` when nothing can run it."""
    if is_uncompiled_graph(value):
        return GraphRuntime(_compiled(name, value))
    if is_graph(value):
        return GraphRuntime(value)
    if is_runnable(value):
        return RunnableRuntime(value)
    if inspect.isclass(value) or not callable(value):
        raise EntryPointError(
            f"The entry point {name!r} is {_what(value)}, which cannot be run; name a function, an async generator, "
            "an object with __call__, a LangGraph graph or a LangChain Runnable."
        )
    _require_one_parameter(name, value)
    return CallableRuntime(value, Threads(max_concurrency))


def _import_failed(name: str, error: BaseException) -> EntryPointError:
    return EntryPointError(
        f"The entry point {name!r} cannot be imported: its module raised {type(error).__name__}: {error}. "
        "Correct the agent's code or its dependencies, then start it again."
    )


def _compiled(name: str, graph: Any) -> Any:
    try:
        return graph.compile()
    except Exception as error:
        raise EntryPointError(
            f"The graph of the entry point {name!r} cannot be compiled: {type(error).__name__}: {error}. Correct it."
        ) from error


def _require_one_parameter(name: str, value: Any) -> None:
    try:
        signature = inspect.signature(value)
    except ValueError:
        # Some callables written in C do not tell; calling shows.
        return
    try:
        signature.bind({})
    except TypeError as error:
        raise EntryPointError(
            f"The entry point {name!r} must take one argument, the parameters object, but its signature is {signature} "
            f"({type(error).__name__}: {error}). Change the function or name another."
        ) from error


def _what(value: Any) -> str:
    return f"the class {value.__name__}" if inspect.isclass(value) else f"a value of type {type(value).__name__}"
