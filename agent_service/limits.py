"""What the operating system enforces on one process, in its own terms."""

from __future__ import annotations

import sys

# Seconds of CPU between the signal that says why (SIGXCPU) and the one that nobody survives.
_CPU_GRACE_SECONDS = 5

if sys.platform == "win32":

    def resource_limits(cpu_seconds: int | None, open_files: int | None) -> dict[int, tuple[int, int]]:
        """None: Windows has no such limits."""
        return {}

else:
    import resource

    def resource_limits(cpu_seconds: int | None, open_files: int | None) -> dict[int, tuple[int, int]]:
        """Soft and hard limit by kind, as `setrlimit` takes them; those that are None are left as they are."""
        limits: dict[int, tuple[int, int]] = {}
        if cpu_seconds is not None:
            limits[resource.RLIMIT_CPU] = cpu_seconds, cpu_seconds + _CPU_GRACE_SECONDS
        if open_files is not None:
            limits[resource.RLIMIT_NOFILE] = open_files, open_files
        return limits
