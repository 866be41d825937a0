"""Loads of a few seconds: enough that every server allocates, few enough for a busy machine."""
import socket
import struct
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from trial.steps import Trouble

REQUESTS = 1500
THREADS = 4


def http(port: int, path: str = "/", requests: int = REQUESTS) -> int:
    """GETs; how many were answered. None may fail."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(number: int) -> int:
        with opener.open(f"http://127.0.0.1:{port}{path}?n={number}", timeout=20) as answer:
            return len(answer.read()) and 1

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(get, range(requests)))


class Backend:
    """A small HTTP server in this process, for what stands in front of one."""

    def __enter__(self) -> int:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_address[1]

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Hello(BaseHTTPRequestHandler):
    """Says hello."""

    def do_GET(self) -> None:  # noqa: N802 (the name is http.server's)
        body = b"hello\n" * 50
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def four_letters(port: int, word: bytes, times: int) -> int:
    """ZooKeeper's commands of four letters."""
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(word)
            if not connection.recv(4096):
                raise Trouble(f"no answer to {word.decode()}")
    return times


class Cql:
    """Cassandra's native protocol, version 4: as much of it as a table needs."""
    STARTUP, QUERY, ERROR = 1, 7, 0

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), 30)
        self.ask(self.STARTUP, struct.pack(">H", 1) + self.string("CQL_VERSION") + self.string("3.0.0"))

    @staticmethod
    def string(text: str) -> bytes:
        return struct.pack(">H", len(text)) + text.encode()

    def query(self, text: str) -> None:
        one = 1
        self.ask(self.QUERY, struct.pack(">I", len(text)) + text.encode() + struct.pack(">HB", one, 0))

    def ask(self, kind: int, body: bytes) -> None:
        self.connection.sendall(struct.pack(">BBhBI", 4, 0, 0, kind, len(body)) + body)
        _, _, _, answer, length = struct.unpack(">BBhBI", self.read(9))
        found = self.read(length)
        if answer == self.ERROR:
            raise Trouble(f"Cassandra: {found[6:].decode(errors='replace')}")

    def read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            found += self.connection.recv(count - len(found)) or self.gone()
        return found

    def gone(self) -> bytes:
        raise Trouble("Cassandra closed the connection")
