"""What `agent-manager up` says while it runs: one short line per thing that a person should know."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from manager.cli.agents import STYLES
from manager.cli.goals import draining, why
from manager.cli.output import duration, printable
from manager.cli.target import shown
from manager.clock import Clock
from manager.events import Event, EventKind
from manager.supervision.states import AgentState
from manager.supervision.views import AgentView, InstanceView
from manager.version import __version__

DRAIN_REPEAT_SECONDS = 5.0

# What the state changes do not say already.
_SPOKEN_KINDS = frozenset(
    {
        EventKind.INSTANCE_ADOPTED,
        EventKind.DRAIN_TIMED_OUT,
        EventKind.CONFIG_RELOADED,
        EventKind.CONFIG_REJECTED,
        EventKind.ROLLOUT_FAILED,
        EventKind.DEFINITION_REFUSED,
        EventKind.SIDECAR_MOVED,
    }
)
_VERBS = {AgentState.BACKOFF: "crashed", AgentState.STOPPING: "draining"}
_EXPLAINED = frozenset({AgentState.BACKOFF, AgentState.FAILED, AgentState.UNRESPONSIVE, AgentState.LOST})


class ConsoleReporter:
    """What a person at `directory` wants to know; every method prints and returns at once.

    `program` is how the command line is called there, `expected_url` the manager that it finds by itself; None where
    it finds this one, wherever it listens.
    """

    def __init__(
        self,
        console: Console,
        clock: Clock,
        *,
        directory: Path,
        program: str = "agent-manager",
        expected_url: str | None,
    ) -> None:
        self._console = console
        self._clock = clock
        self._directory = directory
        self._program = program
        self._expected_url = expected_url
        self._ready_instances: dict[str, set[str]] = {}
        self._example: tuple[str, str] | None = None
        self._drain_said: tuple[list[tuple[str, int]], float] | None = None

    def starting(self, url: str, config_path: Path, agent_count: int) -> None:
        """The manager listens at `url` and is about to start its agents."""
        config = shown(config_path, self._directory)
        agents = f"{agent_count} agent" if agent_count == 1 else f"{agent_count} agents"
        self._say(f"agent-manager {__version__} at {url}, {agents} from {config}", "bold")

    def event(self, event: Event, view: AgentView | None) -> None:
        """Something happened; `view` is the agent as it is now, None where the event is about none."""
        if event.kind is EventKind.STATE_CHANGED and view is not None:
            self._state_changed(event, view)
        elif event.kind is EventKind.INSTANCE_REGISTERED and view is not None:
            self._instance_came(event, view)
        elif event.kind in _SPOKEN_KINDS:
            self._say(event.message, "yellow")
        if event.kind is EventKind.INSTANCE_ADOPTED and event.agent_id and event.instance_id:
            # It was ready long before: how long it has been there is not how long it took.
            self._ready_instances.setdefault(event.agent_id, set()).add(event.instance_id)

    def ready(self, url: str, ready: int, total: int) -> None:
        """Every agent that starts by itself is ready or has failed: how to go on from here."""
        if total == 0:
            self._say("No agent is to run now; `start` starts one", "bold yellow")
        else:
            self._say(f"{ready} of {total} agents ready", "bold green" if ready == total else "bold yellow")
        self._say(f"  Dashboard  {url.rstrip('/')}/")
        command = self._program if self._expected_url in (None, url) else f"{self._program} --url {url}"
        if self._example:
            agent_id, parameters = self._example
            self._say(f"  Try        {command} execute {agent_id} '{parameters}'")
        self._say(f"             {command} ps")
        self._say(f"             {command} logs -f")
        self._say("  Ctrl-C drains and stops every agent")

    def draining(self, views: list[AgentView]) -> None:
        """Called as often as the caller likes while agents drain; says who is busy when that has changed."""
        busy = [view for view in views if view.state is AgentState.STOPPING]
        news = [(view.id, view.in_flight) for view in busy]
        now = self._clock.monotonic()
        if not busy or (
            self._drain_said and self._drain_said[0] == news and now - self._drain_said[1] < DRAIN_REPEAT_SECONDS
        ):
            return
        self._drain_said = news, now
        who = ", ".join(f"{view.id} {draining(view, self._clock.now())}" for view in busy)
        self._say(f"draining: {who}; Ctrl-C again ends them at once", "yellow")

    def stopped(self, *, left_agents: bool = False) -> None:
        """The last thing said: the manager ends, and with it its agents, unless it was told to leave them."""
        if left_agents:
            self._say("The manager has ended; its agents go on, and the next manager takes them back", "bold")
        else:
            self._say("All agents have ended, and so has the manager", "bold")

    def _state_changed(self, event: Event, view: AgentView) -> None:
        if view.state is AgentState.STARTING:
            return
        if view.state is AgentState.RUNNING:
            self._remember_example(view)
        if came := self._newly_ready(view):
            self._say_ready(event, view, came)
        else:
            self._say(_state_text(event, view), STYLES[view.state])

    def _instance_came(self, event: Event, view: AgentView) -> None:
        # The first one changes the agent's state, which has its own line; this is for those that join it.
        if view.id in self._ready_instances:
            self._say_ready(event, view, self._newly_ready(view))

    def _newly_ready(self, view: AgentView) -> list[InstanceView]:
        if view.state is not AgentState.RUNNING:
            return []
        said = self._ready_instances.get(view.id, set())
        came = [instance for instance in view.instances if instance.ready and instance.instance_id not in said]
        still_there = said & {instance.instance_id for instance in view.instances}
        self._ready_instances[view.id] = still_there | {instance.instance_id for instance in came}
        return came

    def _say_ready(self, event: Event, view: AgentView, came: list[InstanceView]) -> None:
        for instance in came:
            self._say(_ready_text(event, view, instance), STYLES[view.state])

    def _remember_example(self, view: AgentView) -> None:
        # A dummy takes any parameters, an agent from data a text; what another one takes, only its author knows.
        if view.entry_point == "dummy":
            self._example = view.id, '{"hello": "world"}'
        elif self._example is None and not view.sidecar:
            self._example = view.id, '{"input": "Say hello."}' if view.entry_point == "react" else "{}"

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(printable(text), style=style), soft_wrap=True)


def _ready_text(event: Event, view: AgentView, instance: InstanceView) -> str:
    if not view.managed:
        return f"{view.id} ready at {instance.service_url}, started elsewhere"
    took = f" in {duration((event.at - instance.started_at).total_seconds())}" if instance.started_at else ""
    return f"{view.id} ready{took} (pid {instance.pid}, port {_port(view, instance)})"


def _port(view: AgentView, instance: InstanceView) -> int | None:
    """The agent's own, which all its instances share, else that of the instance."""
    has_own = view.service_url not in (None, *(each.service_url for each in view.instances))
    return urlsplit((view.service_url if has_own else instance.service_url) or "").port


def _state_text(event: Event, view: AgentView) -> str:
    text = f"{view.id} {_VERBS.get(view.state, view.state)}"
    if view.state in _EXPLAINED and why(view):
        text += f": {why(view)}"
    if view.next_start_at is not None:
        text += f"; starts again in {duration((view.next_start_at - event.at).total_seconds())}"
    return text
