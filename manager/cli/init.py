"""`init`: a project directory to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from manager.cli.output import print_line
from manager.cli.session import session_of
from manager.cli.target import shown
from manager.errors import ManagerError

# What the project comes with. In a checkout config/ began as the same, and has become the fleet of whoever works there.
STARTER = Path(__file__).parent / "starter"
CONFIG_NAME = "agents.config.json"
SCHEMA_NAME = "agents.config.schema.json"
EXAMPLE_NAME = "example_agent.py"
EXAMPLE_AGENT = {
    "id": "greeter",
    "name": "GreeterAgent",
    "description": f"Says hello; the code is in {EXAMPLE_NAME}.",
    "entryPoint": "example_agent:greet",
}

Directory = Annotated[
    Path | None, typer.Argument(metavar="DIRECTORY", help="Else the current one.", show_default=False)
]


def init(context: typer.Context, directory: Directory = None) -> None:
    """Write a starter config and a tiny example agent; what is there already stays as it is."""
    here = session_of(context).directory
    target = here / directory if directory else here
    for path, text in _starter_files(target).items():
        is_new = _write_new(path, text)
        print_line(f"{'wrote' if is_new else 'kept '} {shown(path, here)}")
    if target != here:
        print_line(f"\nNext: cd {shown(target, here)}")
    print_line(
        "\nStart the agents:  agent-manager up\n"
        "Then try:          agent-manager ps\n"
        """                   agent-manager execute greeter '{"name": "Ada"}'"""
    )


def _starter_files(target: Path) -> dict[Path, str]:
    from manager.specs.schema import schema_text

    config = json.loads((STARTER / CONFIG_NAME).read_text("utf-8"))
    config["agents"] = [*config.get("agents", []), EXAMPLE_AGENT]
    return {
        target / "config" / CONFIG_NAME: json.dumps(config, indent=2, ensure_ascii=False) + "\n",
        target / "config" / SCHEMA_NAME: schema_text(),
        target / EXAMPLE_NAME: (STARTER / EXAMPLE_NAME).read_text("utf-8"),
    }


def _write_new(path: Path, text: str) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # "x" and not a look beforehand: nothing is overwritten even when two of these run at once.
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        if path.is_file():
            return False
        raise ManagerError(f"{error.filename} is in the way; move it or name another directory.") from None
    except OSError as error:
        raise ManagerError(f"{path} cannot be written ({error.strerror}); name another directory.") from None
    return True
