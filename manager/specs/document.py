"""A config file's bytes as one JSON object, or the reason why they are none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from agent_service.issues import json_path
from manager.errors import ConfigError, ConfigIssue

MAX_CONFIG_BYTES = 10 * 1024 * 1024


class _NotJson(ValueError):
    """What Python's parser takes for a number and JSON does not know, or no machine can hold."""


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in `path` (UTF-8, with or without a byte order mark). Raises `ConfigError`."""
    text = _decode(path, _read(path))
    repeated: list[tuple[dict[str, Any], str]] = []

    def to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, value in pairs:
            if key in members:
                repeated.append((members, key))
            members[key] = value
        return members

    document = _parse(path, text, to_object)
    if not isinstance(document, dict):
        _refuse(path, "(file)", "JSON that is no object", 'begin with {"agents": […]}')
    if repeated:
        raise ConfigError(str(path), _repetitions(document, repeated))
    return document


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        _refuse(path, "(file)", "no such file", "put a config there; `agent-manager init` writes a first one")
    except IsADirectoryError:
        _refuse(path, "(file)", "a directory", "name the config file in it")
    except (OSError, ValueError) as error:
        _refuse(path, "(file)", f"a file that cannot be read ({error})", "make it readable for the manager's user")
    if len(data) > MAX_CONFIG_BYTES:
        _refuse(path, "(file)", "more than 10 MiB", "name a config file of at most 10 MiB")
    return data


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _refuse(path, f"line {line}", f"byte 0x{data[error.start]:02x}, which is not UTF-8", "save the file as UTF-8")


def _parse(path: Path, text: str, to_object: Any) -> Any:
    try:
        document = json.loads(text, object_pairs_hook=to_object, parse_float=_finite, parse_constant=_refuse_constant)
        # An escape such as \ud800 is half a character: no file, log line or process could take it.
        json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        _refuse(path, where, f"text that is not JSON ({error.msg})", "correct it there or just before")
    except UnicodeEncodeError:
        _refuse(path, "(file)", "half of a surrogate pair", r"complete or remove the \ud800 to \udfff escape")
    except RecursionError:
        _refuse(path, "(file)", "arrays or objects nested too deep", "flatten them")
    except _NotJson as error:
        _refuse(path, "(file)", f"{error}, which is no number of JSON's", "write a finite number")
    except ValueError:
        _refuse(path, "(file)", "a number of thousands of digits", "write a shorter one")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise _NotJson(name)


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse_constant(digits[:40])


def _repetitions(document: dict[str, Any], repeated: list[tuple[dict[str, Any], str]]) -> list[ConfigIssue]:
    paths = _object_paths(document, "")
    return [
        ConfigIssue(json_path(paths.get(id(owner), ""), key), "the same key twice", "keep one of them")
        for owner, key in repeated
    ]


def _object_paths(value: Any, path: str) -> dict[int, str]:
    """The path of every object in `value`, by its identity."""
    paths = {id(value): path} if isinstance(value, dict) else {}
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        paths |= _object_paths(member, json_path(path, key))
    return paths


def _refuse(path: Path, where: str, found: str, allowed: str) -> NoReturn:
    raise ConfigError(str(path), [ConfigIssue(where, found, allowed)]) from None
