"""Packages from PyPI that only benchmarks need, in virtual environments of their own."""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.options import BENCH_DIRECTORY, CannotMeasure


@dataclass(frozen=True)
class Environment:
    """One of them, kept between runs."""

    name: str
    packages: tuple[str, ...]

    def program(self, name: str) -> Path:
        """One of its programs, or the `python` that has its packages; after `install`."""
        return BENCH_DIRECTORY / self.name / "bin" / name

    def install(self) -> None:
        """Install what is missing. Raises `CannotMeasure`."""
        directory = BENCH_DIRECTORY / self.name
        stamp = directory / ".installed"
        wanted = "\n".join(self.packages)
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return
        print(f"Installing {', '.join(self.packages)} into {directory}", file=sys.stderr)
        venv.create(directory, clear=True, with_pip=True)
        done = subprocess.run([self.program("python"), "-m", "pip", "install", "-q", *self.packages], check=False)
        if done.returncode:
            raise CannotMeasure(f"{', '.join(self.packages)} could not be installed; see above.")
        # Last: an installation that was broken off is done again.
        stamp.write_text(wanted, encoding="utf-8")
