from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from manager.telemetry.manager_log import FILE_NAME, ManagerLog, configure_logging

Configure = Callable[..., ManagerLog]


@pytest.fixture
def configured() -> Iterator[Configure]:
    """`configure_logging`, undone after the test: it sets what is global in logging and structlog."""
    handlers: list[ManagerLog] = []
    root = logging.getLogger()
    level = root.level

    def configure(directory: Path, *, level: str = "info", redact: tuple[str, ...] = ()) -> ManagerLog:
        handlers.append(configure_logging(directory, level=level, redact=redact))
        return handlers[-1]

    yield configure
    for handler in handlers:
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """The lines of the log in `tmp_path`, parsed."""
    return lambda: [json.loads(line) for line in (tmp_path / FILE_NAME).read_text("utf-8").splitlines()]
