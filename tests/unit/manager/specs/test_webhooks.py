from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manager.errors import ConfigError
from manager.specs.fleet_config import as_dummies
from manager.specs.loading import load_config

LEAST = {"name": "oncall", "url": "https://hooks.example.com/x", "secret": "env:SECRET"}
SECRET = "a secret of more than 24 characters"


def config(directory: Path, *webhooks: dict[str, Any]) -> Path:
    path = directory / "agents.config.json"
    path.write_text(json.dumps({"runtime": {"webhooks": [{**LEAST, **each} for each in webhooks]}}))
    return path


def issues(directory: Path, *webhooks: dict[str, Any], **environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as refusal:
        load_config(config(directory, *webhooks), environ=environ)
    return {issue.path: f"{issue.found}; {issue.allowed}" for issue in refusal.value.issues}


def test_a_good_one_is_loaded(tmp_path: Path) -> None:
    loaded = load_config(config(tmp_path, {"kinds": ["lost"]}), environ={"SECRET": SECRET})
    assert [webhook.kinds for webhook in loaded.runtime.webhooks] == [("lost",)]


def test_what_it_refers_to_is_looked_up_and_never_shown(tmp_path: Path) -> None:
    found = issues(
        tmp_path, {"url": "env:URL"}, {"name": "b", "secret": "file:s"}, SECRET="too short", URL="ftp://s3cret"
    )
    assert found == {
        "runtime.webhooks[0].url": "'env:URL', whose value cannot be used (webhook 'oncall'); "
        "write http://… or https://… without user, password and fragment, or a reference to it",
        "runtime.webhooks[0].secret": "'env:SECRET', whose value cannot be used (webhook 'oncall'); "
        "make it longer: whsec_ and 32 random bytes in base64, or at least 24 characters",
        "runtime.webhooks[1].secret": f"'file:s', which is no file (webhook 'b'); create {tmp_path / 's'}",
    }


def test_what_is_wrong_in_itself_is_told_with_its_path(tmp_path: Path) -> None:
    found = issues(tmp_path, {"secret": "written out", "kinds": ["faild"], "colour": 1}, SECRET=SECRET)
    assert found["runtime.webhooks[0].secret"].startswith('"***"')
    assert "did you mean 'failed'" in found["runtime.webhooks[0].kinds[0]"]
    assert "an unknown key" in found["runtime.webhooks[0].colour"]


def test_a_wrong_name_and_a_wrong_kind_are_one_error_each(tmp_path: Path) -> None:
    found = issues(tmp_path, {"name": "Oncall", "kinds": ["nope"]}, SECRET=SECRET)
    assert found == {
        "runtime.webhooks[0].name": "\"Oncall\"; 1 to 63 lower-case letters, digits, '-' and '_' are allowed",
        "runtime.webhooks[0].kinds[0]": '"nope"; name a state of an agent or a kind of event',
    }
    assert issues(tmp_path, {"kinds": []}, SECRET=SECRET) == {
        "runtime.webhooks[0].kinds": "an array of 0; an array with at least one element is allowed"
    }


def test_without_references_being_checked_none_is_looked_up_and_dummies_tell_nobody(tmp_path: Path) -> None:
    loaded = load_config(config(tmp_path, {}), environ={}, check_references=False)
    assert as_dummies(loaded).runtime.webhooks == ()
