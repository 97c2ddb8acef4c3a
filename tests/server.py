"""A server on this machine that answers in the ways in which others fail."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Request(BaseHTTPRequestHandler):
    """A request, which ``answer`` is asked to answer."""

    answer: Callable[["Request"], None]
    ended: threading.Event

    def reply(
        self,
        content: bytes,
        status: int = 200,
        headers: dict[str, str] | None = None,
        stops: int | None = None,
        stalls: bool = False,
    ) -> None:
        """Send all of it, or break off after ``stops`` bytes, or stall there."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:stops])
            self.wfile.flush()
            if stalls:
                self.stall()

    def stall(self) -> None:
        self.ended.wait()

    def do_GET(self) -> None:
        type(self).answer(self)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Who asked has gone away."""


@contextmanager
def serving(answer: Callable[[Request], None]) -> Iterator[str]:
    """The address of a server, while it serves."""
    ended = threading.Event()
    kind = type("Kind", (Request,), {"answer": staticmethod(answer), "ended": ended})
    server = Server(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
