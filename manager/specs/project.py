"""Where a config's relative paths begin."""

from __future__ import annotations

from pathlib import Path


def project_directory(config_path: Path) -> Path:
    """The config file's directory, absolute, or its parent when that one is called `config`."""
    directory = config_path.absolute().parent
    return directory.parent if directory.name == "config" else directory
