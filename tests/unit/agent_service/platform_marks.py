"""Marks for tests of what only one system has."""

from __future__ import annotations

import sys

import pytest

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs what only Linux has")
