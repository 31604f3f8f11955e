"""An api of the tests: answers what `nself claw up` asks of the gateway."""

import http.server
import json
import os
import signal
from pathlib import Path

KEY = Path("key")
PIECES = [{"choices": [{"delta": {"content": text}}]} for text in ("a ", "first ", "answer")]
MODELS = Path("models")
REFUSAL = Path("refusal")
ANSWER = b"".join(f"data: {json.dumps(piece)}\n\n".encode() for piece in PIECES) + b"data: [DONE]\n\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """Always healthy; keeps the body of the key that was created.

    Each line of the file `models` is what GET /v1/models lists at one look, the last one from then on. Only what was
    listed at the last look can be asked.
    """

    looks = 0

    def answer(self, status: int, body: bytes) -> None:
        """Send a whole response."""
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Health, the models, and the list of keys."""
        if self.path == "/die":
            os._exit(3)
        if self.path == "/v1/models":
            Handler.looks += 1
            self.answer(200, json.dumps({"data": [{"id": name} for name in listed()]}).encode())
            return
        body = {"keys": [1] if KEY.exists() else [], "pid": os.getpid(), "redis": "ok", "postgres": "ok"}
        self.answer(200, json.dumps(body).encode())

    def do_POST(self) -> None:
        """A key, or a streamed answer."""
        secret = Path(os.environ["CLAW_DATA_DIR"], "secrets", "internal_secret").read_text()
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["x-internal-token"] != secret:
            self.answer(401, b"{}")
        elif self.path == "/claw/v1/api-keys":
            KEY.write_bytes(body)
            self.answer(201, b'{"key": "sk-nself-first"}')
        else:
            asked = json.loads(body)
            with Path("asked").open("a") as file:
                file.write(asked["model"] + "\n")
            if REFUSAL.exists() or asked["model"] not in listed():
                self.answer(503, REFUSAL.read_bytes() if REFUSAL.exists() else b"not listed")
            else:
                self.answer(200 if asked["stream"] else 400, ANSWER)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def listed() -> list[str]:
    """The models of the last look at them."""
    lists = MODELS.read_text().splitlines() if MODELS.exists() else ["auto local"]
    return lists[min(Handler.looks, len(lists)) - 1].split() if lists and Handler.looks else []


def end(*_: object) -> None:
    """Note the stop, for its order, and stop."""
    with Path("stops").open("a") as file:
        file.write("web has stopped\n")
    os._exit(0)


signal.signal(signal.SIGTERM, end)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["CLAW_PORT"])), Handler).serve_forever()
