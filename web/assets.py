"""The dashboard's static files: addressed by their content, so that a browser keeps them as long as they are right."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import parse_qs

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_DIRECTORY = Path(__file__).parent / "static"
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


class Assets:
    """Knows each file's digest from the moment it is made; `url` is what the templates call."""

    def __init__(self, directory: Path = STATIC_DIRECTORY) -> None:
        self._digests = {
            path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            for path in directory.rglob("*")
            if path.is_file()
        }

    def url(self, path: str) -> str:
        """`/static/base.css?v=…`. Raises KeyError for a file that is not there."""
        return f"/static/{path}?v={self._digests[path]}"


class AssetFiles(StaticFiles):
    """Serves them: for ever where the address carries the digest, else with a question (ETag) each time."""

    def file_response(
        self, full_path: os.PathLike[str] | str, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        versioned = "v" in parse_qs(scope["query_string"].decode("latin-1"))
        response.headers["Cache-Control"] = _IMMUTABLE if versioned else _REVALIDATE
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
