"""An agent that shares no code with ours: the adapter API in the standard library alone, as any language could."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/execute" and body["parameters"].get("hang_up"):
            self.close_connection = True
        elif self.path == "/execute":
            self.answer(200, {"task_id": "1", "result": {"foreign": body["parameters"]}, "duration_ms": 0})
        elif body["action"] == "stop":
            self.answer(202, {"status": "stopping", "in_flight": 0})
            threading.Thread(target=self.server.shutdown).start()
        else:
            self.answer(202, {"status": "paused" if body["action"] == "pause" else "running"})

    def answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def tell_manager(what: str, **body: object) -> None:
    identity = {"id": os.environ["AGENT_ID"], "instanceId": os.environ["AGENT_INSTANCE_ID"]}
    request = urllib.request.Request(
        f"{os.environ['AGENT_MANAGER_URL']}/api/agent-services/{what}",
        data=json.dumps({**identity, **body}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


def main() -> None:
    sys.stdout.write("a line from a foreign agent\n")
    sys.stdout.flush()
    server = ThreadingHTTPServer((os.environ["AGENT_HOST"], int(os.environ["AGENT_PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    url = f"http://{os.environ['AGENT_HOST']}:{os.environ['AGENT_PORT']}"
    threading.Thread(target=tell_manager, args=("register",), kwargs={"serviceUrl": url}).start()
    server.serve_forever()
    tell_manager("unregister")


if __name__ == "__main__":
    main()
