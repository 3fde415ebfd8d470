"""Spans for what LangChain runs within a task: nodes of graphs, model calls, tool calls; each under what it runs in.

Of our own: the packages that do this patch LangChain for the whole process, know no sampling by agent, and bring more
than all the rest of tracing does.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers.context import register_configure_hook
from langgraph.errors import GraphBubbleUp
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from agent_service.tracing.content import Redact, as_content
from agent_service.tracing.genai import (
    answer_of,
    as_messages,
    is_mcp,
    request_attributes,
    response_attributes,
    tool_attributes,
)
from agent_service.tracing.outcome import fail
from agent_service.tracing.tracer import Attributes, Tracer

_STEP_TAG = "graph:step:"


class LangChainHook:
    """Makes LangChain tell the task that it works for what it does, whatever kind of agent calls it."""

    def __init__(self) -> None:
        self._handler: ContextVar[TaskRuns | None] = ContextVar("task_runs", default=None)
        register_configure_hook(self._handler, inheritable=True)

    def watch(self, runs: TaskRuns) -> None:
        """In this context, and in those copied from it."""
        self._handler.set(runs)


class TaskRuns(BaseCallbackHandler):
    """The runs of one task. `content`: prompts and answers are recorded, once it has made them fit for that."""

    # On the event loop, before the run goes on: with others LangChain hands over to a thread.
    run_inline = True

    def __init__(self, tracer: Tracer, task: Span, content: Redact | None) -> None:
        self._tracer = tracer
        self._task = task
        self._content = content
        # By run; one that has no span of its own stands for the span that it runs in.
        self._around: dict[UUID, Span] = {}
        self._open: dict[UUID, Span] = {}

    def here(self) -> Span:
        """The span of the run that the calling code belongs to."""
        config = var_child_runnable_config.get()
        run_id = getattr((config or {}).get("callbacks"), "parent_run_id", None)
        return self._around.get(run_id, self._task) if run_id is not None else self._task

    def close(self) -> None:
        """End what was left open: a stream that nobody read to its end."""
        for span in self._open.values():
            span.end()
        self._open.clear()
        self._around.clear()

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        details = metadata or {}
        node = details.get("langgraph_node")
        if node is None or kwargs.get("name") != node or not any(tag.startswith(_STEP_TAG) for tag in tags or ()):
            self._around[run_id] = self._parent(parent_run_id)
            return
        attributes = {"langgraph.node": node, "langgraph.step": int(details.get("langgraph_step", 0))}
        self._begin(run_id, parent_run_id, f"node {node}", SpanKind.INTERNAL, attributes)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        # An interrupt, or a hand-over to another graph, is how a node ends, not how it fails.
        self._end(run_id, None if isinstance(error, GraphBubbleUp) else error)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        span = self._begin_model(run_id, parent_run_id, metadata or {})
        if self._content is not None and messages:
            span.set_attribute("gen_ai.input.messages", as_messages(messages[0], self._content))

    def on_llm_start(
        self,
        serialized: dict[str, Any] | None,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        span = self._begin_model(run_id, parent_run_id, {**(metadata or {})}, operation="text_completion")
        if self._content is not None:
            span.set_attribute("gen_ai.input.messages", as_content(prompts, self._content))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._open.get(run_id)
        if span is not None:
            span.set_attributes(response_attributes(response))
            said = answer_of(response)
            if self._content is not None and said is not None:
                span.set_attribute("gen_ai.output.messages", as_messages([said], self._content))
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        told, details = serialized or {}, metadata or {}
        name = str(told.get("name") or kwargs.get("name") or "tool")
        attributes = tool_attributes(name, kwargs.get("tool_call_id"), told.get("description"), details)
        if self._content is not None:
            given = input_str if inputs is None else inputs
            attributes["gen_ai.tool.call.arguments"] = as_content(given, self._content)
        kind = SpanKind.CLIENT if is_mcp(details) else SpanKind.INTERNAL
        self._begin(run_id, parent_run_id, f"execute_tool {name}", kind, attributes)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._open.get(run_id)
        if span is not None:
            if getattr(output, "status", None) == "error":
                # The tool's own error, which the model is told and goes on from.
                span.set_attribute("error.type", "tool_error")
                span.set_status(Status(StatusCode.ERROR))
            if self._content is not None:
                result = getattr(output, "content", output)
                span.set_attribute("gen_ai.tool.call.result", as_content(result, self._content))
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, None if isinstance(error, GraphBubbleUp) else error)

    def _begin_model(
        self, run_id: UUID, parent_run_id: UUID | None, metadata: Mapping[str, Any], *, operation: str = "chat"
    ) -> Span:
        attributes = {**request_attributes(metadata), "gen_ai.operation.name": operation}
        model = attributes.get("gen_ai.request.model", "")
        return self._begin(run_id, parent_run_id, f"{operation} {model}".rstrip(), SpanKind.CLIENT, attributes)

    def _begin(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
    ) -> Span:
        span = self._tracer.begin_under(self._parent(parent_run_id), name, kind, attributes)
        self._around[run_id] = self._open[run_id] = span
        return span

    def _end(self, run_id: UUID, error: BaseException | None = None) -> None:
        self._around.pop(run_id, None)
        span = self._open.pop(run_id, None)
        if span is not None:
            if error is not None:
                fail(span, error, self._content)
            span.end()

    def _parent(self, parent_run_id: UUID | None) -> Span:
        return self._around.get(parent_run_id, self._task) if parent_run_id is not None else self._task
