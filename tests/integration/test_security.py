"""Acceptance: who may do what, with tokens and without."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.integration.chaos import quiet_port
from tests.integration.manager_process import COMMAND, DEADLINE_SECONDS, ROOT, running_manager, until, write_config

TOKEN, PREVIOUS = "current-token-0123456789", "previous-token-9876543210"
ENVIRONMENT = {"MANAGER_TOKEN": TOKEN, "MANAGER_TOKEN_PREVIOUS": PREVIOUS}


def test_a_manager_that_others_could_reach_needs_a_token(tmp_path: Path) -> None:
    config = write_config(tmp_path, [])
    refused = subprocess.run(
        [*COMMAND, "--config", str(config), "--host", "0.0.0.0", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        cwd=ROOT,
        check=False,
    )
    assert refused.returncode == 2
    assert "MANAGER_TOKEN" in refused.stderr


def test_with_tokens_on_only_their_holders_change_anything(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}, {"id": "blabber", "entryPoint": "tests.fixtures.agents:blabber"}])
    with running_manager(config, environment=ENVIRONMENT) as manager:
        row = manager.wait_for("one", "running")
        stranger = httpx.Client(base_url=manager.url, trust_env=False)
        path = "/api/agent-services/one"
        for answer in (
            stranger.post(f"{path}/action", json={"action": "stop"}),
            stranger.post(f"{path}/execute", json={"parameters": {}}, headers={"X-Manager-Token": "wrong"}),
            stranger.get(f"{path}/logs"),
            stranger.post("/api/agent-services/register", json={}),
            stranger.post("/api/manager/shutdown"),
            stranger.post("/ui/agents/one/action", data={"action": "stop"}),
            httpx.post(f"{row['service_url']}/action", json={"action": "stop"}),
            httpx.post(f"{row['service_url']}/execute", json={"parameters": {}}),
            httpx.get(f"{row['service_url']}/logs"),
        ):
            assert answer.status_code == 401, answer.url
        assert manager.execute("one", a=1).status_code == 200
        rotating = {"X-Manager-Token": PREVIOUS}
        assert stranger.post(f"{path}/execute", json={"parameters": {}}, headers=rotating).status_code == 200
        assert "one" not in stranger.get("/").text.split("<body")[1], "the dashboard asks for the token first"
        stranger.close()
        manager.wait_for("blabber", "running")
        assert manager.execute("blabber", what=TOKEN).status_code == 200
        assert "print [redacted]" in manager.log("blabber")
        everything = (
            manager.log("one") + manager.log("blabber") + manager.http.get(path).text + "\n".join(manager.output)
        )
        everything += (tmp_path / "logs" / "manager.log").read_text()
        assert TOKEN not in everything and PREVIOUS not in everything


@pytest.mark.full
@pytest.mark.parametrize(("before", "after"), [(None, TOKEN), (PREVIOUS, TOKEN), (TOKEN, None)])
def test_agents_that_were_left_behind_with_another_token_are_replaced_and_lost_at_no_moment(
    tmp_path: Path, before: str | None, after: str | None
) -> None:
    config = write_config(tmp_path, [{"id": "one"}, {"id": "shared", "port": quiet_port()}], heartbeatTtlSeconds=2)
    with running_manager(config, environment=_with(before)) as manager:
        old = {name: manager.wait_for(name, "running")["instance_id"] for name in ("one", "shared")}
        manager.process.kill()
        manager.wait()
        with running_manager(config, environment=_with(after)) as successor:
            for name, instance_id in old.items():
                until(
                    lambda name=name, instance_id=instance_id: (
                        [each["ready"] for each in successor.agent(name)["instances"]] == [True]
                        and successor.agent(name)["instances"][0]["instance_id"] != instance_id
                    ),
                    f"{name} is replaced",
                )
                assert successor.execute(name, a=1).status_code == 200
                history = successor.events(name)
                assert "heartbeat_missed" not in [event["kind"] for event in history]
                (exited,) = (event for event in history if event["kind"] == "instance_exited")
                assert (exited["instance_id"], exited["data"]["code"]) == (instance_id, 0), "it was drained"
                assert exited["message"].endswith("it was started with another token")


def _with(token: str | None) -> dict[str, str]:
    return {} if token is None else {"MANAGER_TOKEN": token}


@pytest.mark.full
def test_the_dashboards_own_posts_work_after_signing_in_and_foreign_ones_do_not(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config, environment=ENVIRONMENT) as manager:
        manager.wait_for("one", "running")
        browser = httpx.Client(base_url=manager.url, headers={"Origin": manager.url}, trust_env=False)
        assert browser.post("/ui/login", data={"token": "wrong"}).status_code in (401, 403)
        assert browser.post("/ui/login", data={"token": TOKEN}).status_code == 303
        assert "one" in browser.get("/").text
        executed = browser.post("/api/agent-services/one/execute", json={"parameters": {"a": 1}})
        assert executed.json()["result"] == {"echo": {"a": 1}}
        foreign = {"Origin": "http://127.0.0.1:1"}
        for path in ("/ui/agents/one/action", "/api/agent-services/one/execute", "/api/manager/shutdown"):
            assert browser.post(path, json={"parameters": {}}, headers=foreign).status_code == 403
        browser.close()
