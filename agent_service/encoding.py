"""An agent's result as JSON bytes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic_core import to_json

from agent_service.errors import ResultNotJson


def encode(value: Any) -> bytes:
    """`value` as one line of JSON.

    Takes dataclasses, pydantic models (so LangChain messages), arrays, sets, dates and decimals; NaN and the
    infinities become null, an object without a JSON form its `str()`. Bytes are text when all of them are
    UTF-8, otherwise base64. Raises `ResultNotJson`.
    """
    try:
        return _encode(value, "utf8")
    except ValueError:
        pass
    try:
        return _encode(value, "base64")
    except (ValueError, RecursionError) as error:
        raise ResultNotJson(
            f"The agent's result, of type {type(value).__name__}, cannot be made JSON: {error}. "
            "Let the agent return JSON values, dataclasses or pydantic models."
        ) from error


def _encode(value: Any, bytes_mode: Literal["utf8", "base64"]) -> bytes:
    return to_json(value, inf_nan_mode="null", bytes_mode=bytes_mode, fallback=_plain)


def _plain(value: Any) -> Any:
    """NumPy and its kin have `tolist`; everything else is shown as a person would see it."""
    to_list = getattr(value, "tolist", None)
    return to_list() if callable(to_list) else str(value)
