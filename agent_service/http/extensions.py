"""What the scope of a request by HTTP/1.1 offers, in ASGI's own way: `extensions`.

`http.response.trailers` is ASGI's. `http.response.interim` is ours: `status` (1xx, not 101) and `headers` of an interim
answer, as often as wanted before `http.response.start`. HTTP/1.0 knows neither.
"""

from __future__ import annotations

INTERIM = "http.response.interim"
TRAILERS = "http.response.trailers"

# One for all requests: applications only read it.
EXTENSIONS: dict[str, dict[str, object]] = {INTERIM: {}, TRAILERS: {}}
