"""The other supervisors, from PyPI, in a virtual environment of their own."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from scripts.benchmarks.options import BENCH_DIRECTORY, CannotMeasure

PACKAGES = ("supervisor==4.3.0", "circus==0.19.0")

_ENVIRONMENT = BENCH_DIRECTORY / "peers"
_STAMP = _ENVIRONMENT / ".installed"


def program(name: str) -> Path:
    """One of the peers' programs, or the `python` that has their packages; after `install`."""
    return _ENVIRONMENT / "bin" / name


def install() -> None:
    """Install what is missing. Raises `CannotMeasure`."""
    wanted = "\n".join(PACKAGES)
    if _STAMP.exists() and _STAMP.read_text(encoding="utf-8") == wanted:
        return
    print(f"Installing {', '.join(PACKAGES)} into {_ENVIRONMENT}", file=sys.stderr)
    venv.create(_ENVIRONMENT, clear=True, with_pip=True)
    done = subprocess.run([program("python"), "-m", "pip", "install", "-q", *PACKAGES], check=False)
    if done.returncode:
        raise CannotMeasure("The peers could not be installed; see above.")
    # Last: an installation that was broken off is done again.
    _STAMP.write_text(wanted, encoding="utf-8")
