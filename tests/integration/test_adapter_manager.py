"""Registration and heartbeat against a fake manager."""

from __future__ import annotations

import json

from tests.fixtures.adapter import AdapterProcess, FakeManager, execute, fake_manager, held


def managed(manager: FakeManager, **env: str) -> AdapterProcess:
    spec = {"id": "x", "name": "X", "metadata": {"team": "core"}}
    return AdapterProcess(
        env={
            "AGENT_SPEC": json.dumps(spec),
            "AGENT_INSTANCE_ID": "x.1",
            "AGENT_MANAGER_URL": manager.url,
            **env,
        }
    )


def test_an_adapter_registers_when_it_is_ready_and_unregisters_when_it_is_drained() -> None:
    with fake_manager() as manager, managed(manager, MANAGER_TOKEN="s3cret") as adapter, adapter.ready() as client:
        client.headers["X-Manager-Token"] = "s3cret"
        registration = manager.wait_for("register")
        assert registration == {
            "id": "x",
            "serviceUrl": str(client.base_url).rstrip("/"),
            "instanceId": "x.1",
            "metadata": {"team": "core"},
        }
        assert manager.wait_for("heartbeat")["status"] == "running"
        finish = held(client)
        client.post("/action", json={"action": "stop"})
        stopping = manager.wait_for("heartbeat", lambda body: body["status"] == "stopping")
        assert stopping["in_flight"] == 1
        assert stopping["drain_deadline"]
        assert not manager.bodies("unregister")
        assert finish().status_code == 200
        assert adapter.exit_status() == 0
        assert manager.bodies("unregister") == [{"id": "x", "instanceId": "x.1"}]
        assert {token for _, _, token in manager.requests} == {"s3cret"}


def test_a_change_of_status_is_told_at_once() -> None:
    with fake_manager() as manager, managed(manager) as adapter, adapter.ready() as client:
        manager.wait_for("heartbeat", lambda body: body["status"] == "running")
        for action, status in (("pause", "paused"), ("resume", "running")):
            before = len(manager.bodies("heartbeat"))
            client.post("/action", json={"action": action})
            manager.wait_for_count("heartbeat", before + 1)
            assert manager.bodies("heartbeat")[-1]["status"] == status


def test_heartbeats_come_at_the_interval_that_the_manager_asks_for() -> None:
    with fake_manager() as manager:
        manager.interval_seconds = 0.1
        with managed(manager) as adapter, adapter.ready() as client:
            manager.wait_for_count("heartbeat", 5)
            execute(client)
            assert manager.wait_for("heartbeat", lambda body: body["tasks_total"] == 1)["instanceId"] == "x.1"


def test_an_instance_that_was_forgotten_registers_again() -> None:
    with fake_manager() as manager:
        manager.answers["heartbeat"] = (404, {"detail": "unknown instance"})
        with managed(manager) as adapter, adapter.ready():
            manager.wait_for_count("register", 3)


def test_without_its_manager_an_adapter_serves_and_registers_once_it_is_back() -> None:
    with fake_manager() as manager:
        port = manager.port
    with managed(manager) as adapter, adapter.ready() as client:
        reason = adapter.wait_for("Trouble with the manager; the agent goes on serving")["reason"]
        assert f"http://127.0.0.1:{port}" in reason and "cannot be reached" in reason
        assert execute(client).status_code == 200
        with fake_manager(port) as revived:
            revived.wait_for("heartbeat")
            adapter.wait_for("The manager answers again")


def test_a_refusal_is_logged_with_the_managers_sentence_and_the_adapter_serves() -> None:
    with fake_manager() as manager:
        manager.answers["register"] = (409, {"detail": "Another process is already x."})
        with managed(manager) as adapter, adapter.ready() as client:
            manager.wait_for_count("register", 3)
            reason = adapter.wait_for("Trouble with the manager; the agent goes on serving")["reason"]
            assert reason == "The manager refused to register (409): Another process is already x."
            assert execute(client).status_code == 200
            adapter.signal()
            assert adapter.exit_status() == 0
            assert len(adapter.events("Trouble with the manager; the agent goes on serving")) == 1
            assert not manager.bodies("unregister")
