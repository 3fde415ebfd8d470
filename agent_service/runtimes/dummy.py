"""An agent without a model that obeys its parameters, so that every behaviour of the adapter can be tested."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_service.process import flush
from agent_service.runtimes.protocol import Emit, Parameters, ignore_chunk

log = structlog.stdlib.get_logger(__name__)

_LOOK_SECONDS = 0.01

Milliseconds = Annotated[float, Field(ge=0, le=86_400_000, allow_inf_nan=False)]


class Orders(BaseModel):
    """The parameters that the dummy obeys; it echoes all others."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    sleep_ms: Milliseconds = 0
    while_file: Annotated[str, Field(min_length=1)] | None = None
    block_ms: Milliseconds = 0
    fail: str | None = None
    exit: Annotated[int, Field(ge=0, le=255)] | None = None
    stream: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    log: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    allocate_mb: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class DummyRuntime:
    """In order: logs, allocates, blocks, streams or waits, exits or fails; else `{"echo": parameters}`."""

    supports_streaming = True

    async def open(self) -> None:
        """Nothing to open."""

    async def execute(self, parameters: Parameters) -> Any:
        """Raises ValueError for orders that cannot be obeyed, RuntimeError when told to `fail`."""
        return await self._obey(parameters, streamed=False, emit=ignore_chunk)

    async def stream(self, parameters: Parameters, emit: Emit) -> Any:
        """Chunks are `{"chunk": n}`, with a wait between two."""
        return await self._obey(parameters, streamed=True, emit=emit)

    async def close(self) -> None:
        """Nothing to close."""

    async def _obey(self, parameters: Parameters, *, streamed: bool, emit: Emit) -> Any:
        orders = read_orders(parameters)
        for number in range(1, orders.log + 1):
            log.info("Dummy log line", number=number, of=orders.log)
        # Held until the task ends; written to, because untouched pages are not resident.
        ballast = bytearray(b"\x01") * (orders.allocate_mb * 1024 * 1024)
        if orders.block_ms:
            _block(orders.block_ms / 1000)
        if streamed and orders.stream:
            await _emit_chunks(orders, emit)
        else:
            await _wait(orders)
        del ballast
        if orders.exit is not None:
            flush()
            os._exit(orders.exit)
        if orders.fail is not None:
            raise RuntimeError(orders.fail)
        return {"echo": parameters}


def read_orders(parameters: Parameters) -> Orders:
    """The orders among the parameters. Raises ValueError with a sentence that names each wrong one."""
    try:
        return Orders.model_validate(parameters)
    except ValidationError as error:
        wrong = "; ".join(
            f"{item['loc'][0]}: {item['msg']}, found {item['input']!r:.100}" for item in error.errors(include_url=False)
        )
        raise ValueError(f"The dummy cannot obey its parameters ({wrong}); correct them or leave them out") from error


async def _emit_chunks(orders: Orders, emit: Emit) -> None:
    for number in range(orders.stream):
        if number:
            await _wait(orders)
        await emit({"chunk": number})


async def _wait(orders: Orders) -> None:
    await asyncio.sleep(orders.sleep_ms / 1000)
    while _is_held(orders):  # noqa: ASYNC110 - no event
        await asyncio.sleep(_LOOK_SECONDS)


def _is_held(orders: Orders) -> bool:
    return orders.while_file is not None and Path(orders.while_file).exists()


def _block(seconds: float) -> None:
    """Hold the event loop, as badly written agents do."""
    time.sleep(seconds)
