"""The JSON Schema of the config file, from the models that read it: `python -m manager.specs.schema --write`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from manager.settings import AgentSettings
from manager.specs.models import AgentConfig, ConfigDocument

SCHEMA_PATH = Path("config", "agents.config.schema.json")


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:
        """Never: a key needs no second name."""
        return False


def json_schema() -> dict[str, Any]:
    """The schema (2020-12), with a title and with a description for every key."""
    schema = ConfigDocument.model_json_schema(by_alias=True, mode="validation", schema_generator=_WithoutTitles)
    agent = schema["$defs"][AgentConfig.__name__]["properties"]
    for field in AgentSettings.model_fields.values():
        # An agent's own default is whatever the fleet has.
        agent[field.alias].pop("default", None)
        agent[field.alias]["description"] += " Default: the runtime's."
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """The committed file's content."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the schema, or write it with `--write [PATH]`."""
    parser = argparse.ArgumentParser(prog="python -m manager.specs.schema", description=__doc__)
    parser.add_argument("--write", nargs="?", type=Path, const=SCHEMA_PATH, metavar="PATH", help=f"to {SCHEMA_PATH}")
    target: Path | None = parser.parse_args(arguments).write
    if target is None:
        sys.stdout.write(schema_text())
    else:
        target.write_text(schema_text(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
