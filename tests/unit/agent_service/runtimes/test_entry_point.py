from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent_service.contract import AgentSpec
from agent_service.errors import EntryPointError
from agent_service.runtimes.callables import CallableRuntime
from agent_service.runtimes.dummy import DummyRuntime
from agent_service.runtimes.entry_point import load_runtime
from agent_service.runtimes.protocol import Runtime
from agent_service.runtimes.runnables import GraphRuntime, RunnableRuntime

AGENTS, GRAPHS = "tests.fixtures.agents", "tests.fixtures.graphs"


def load(entry_point: str | None) -> Runtime:
    return load_runtime(AgentSpec(id="a", name="A", entry_point=entry_point))


@pytest.mark.parametrize(
    ("entry_point", "kind"),
    [
        ("dummy", DummyRuntime),
        (f"{AGENTS}:echo", CallableRuntime),
        (f"{AGENTS}:greeter", CallableRuntime),
        (f"{AGENTS}:Greeter.__call__", CallableRuntime),
        (f"{GRAPHS}:graph", GraphRuntime),
        (f"{GRAPHS}:uncompiled", GraphRuntime),
        (f"{GRAPHS}:runnable", RunnableRuntime),
        (f"{GRAPHS}:spelling", RunnableRuntime),
    ],
)
def test_each_kind_of_entry_point_gets_its_runtime(entry_point: str, kind: type) -> None:
    if entry_point.endswith("__call__"):
        with pytest.raises(EntryPointError, match="must take one argument"):
            load(entry_point)
    else:
        assert isinstance(load(entry_point), kind)


@pytest.mark.parametrize(
    ("entry_point", "sentence"),
    [
        (None, "None is not of the form package.module:attribute"),
        ("", "'' is not of the form"),
        ("module", "'module' is not of the form"),
        ("module:", "is not of the form"),
        ("a b:c", "is not of the form"),
        ("a:b:c", "is not of the form"),
        ("react", '"react" needs a definition'),
        ("no_such_module:x", "there is no module 'no_such_module' (ModuleNotFoundError"),
        ("tests.no_such.module:x", "there is no module 'tests.no_such'"),
        (f"{AGENTS}:ecoh", "has no 'ecoh' (AttributeError: .*). .* Did you mean 'echo'?"),
        (f"{AGENTS}:echo.nothing", "has no 'echo.nothing'"),
        (f"{AGENTS}:not_callable", "a value of type int, which cannot be run; name a function"),
        (f"{AGENTS}:NotAnInstance", "the class NotAnInstance, which cannot be run"),
        (f"{AGENTS}:without_arguments", "must take one argument, the parameters object, but its signature is ()"),
        (f"{GRAPHS}:broken", "cannot be compiled: ValueError"),
    ],
)
def test_an_unusable_entry_point_is_one_clear_sentence(entry_point: str | None, sentence: str) -> None:
    with pytest.raises(EntryPointError) as error:
        load(entry_point)
    first, _, last = sentence.partition(".*")
    for part in (first, last.rpartition(".* ")[2]):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import no_such_dependency", "its module raised ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("1 / 0", "its module raised ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "its module raised SystemExit: 3"),
        ("def (", "its module raised SyntaxError: "),
    ],
)
def test_a_module_that_fails_is_told_with_its_own_error(
    source: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "agent_that_fails", raising=False)
    (tmp_path / "agent_that_fails.py").write_text(source)
    with pytest.raises(EntryPointError) as error:
        load("agent_that_fails:agent")
    assert sentence in str(error.value)
    assert error.value.__cause__ is not None
