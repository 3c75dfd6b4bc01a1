"""What the tests share: starting our programs, free ports, waiting for a condition, and a stand-in API server."""
import http.server
import json
import queue
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any, Callable, Optional

ROOT = Path(__file__).parent.parent.parent
PROGRAM_PATH = f"{ROOT}/images/cluster-dns"  # others are installed next to kube_watch.py


class Program:
    """One of our programs, running; its lines of standard output can be waited for. Use as a context manager."""

    def __init__(self, *command: str, env: Optional[dict[str, str]] = None) -> None:
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(ROOT / command[0]), *command[1:]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": PROGRAM_PATH, **(env or {})})
        self.lines: list[str] = []
        self._queue: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))

    def line(self, containing: str, timeout: float = 10.0) -> str:
        """The next line that contains this text."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {containing!r}; got {self.lines}, {self.stderr()}") from None
            self.lines.append(line)
            if containing in line:
                return line

    def stderr(self) -> str:
        """What it has complained about."""
        self.errors.seek(0)
        return self.errors.read().decode()

    def stop(self, timeout: float = 5.0) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(timeout)

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.errors):
            if stream:
                stream.close()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port nobody listens on now, on 127.0.0.1; below those that the kernel gives to outgoing connections (32768)."""
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket(socket.AF_INET, kind) as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def eventually(condition: Callable[[], Any], within: float, what: str) -> float:
    """Waits until the condition holds; returns the seconds that took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - started


def run_probe(job: Any, prefix: tuple[str, ...] = ()) -> tuple[int, list[dict[str, Any]]]:
    """probe/probe.py with this job; exit code and its lines."""
    done = subprocess.run([*prefix, sys.executable, "-B", "-ES", str(ROOT / "probe/probe.py")],
                          input=job if isinstance(job, str) else json.dumps(job),
                          capture_output=True, text=True, timeout=30, check=False)
    if done.stderr:
        raise AssertionError(done.stderr)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def probe_one(prefix: tuple[str, ...] = (), timeout_ms: int = 400, **cell: Any) -> dict[str, Any]:
    """The result of a job with one cell."""
    code, lines = run_probe({"timeoutMs": timeout_ms, "cells": [{"id": "x", **cell}]}, prefix)
    assert code == 0 and lines[-1] == {"done": True, "count": 1}, lines
    return lines[0]


class FakeApi:
    """A stand-in for the Kubernetes API server: list, watch, bookmarks and 410 Gone of collections, and single documents.

    Any path is a collection; `documents` are read as they are, and what a PATCH, PUT or POST sends is kept in `written`, if
    `refused` has no status for its path. Only the status of an object that is there is really changed. It keeps every
    event, so that a watch from an old resourceVersion gets what it missed, until `compact()`.
    """

    def __init__(self, port: int = 0, context: Any = None) -> None:
        self.objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self.events: list[tuple[int, str, dict[str, Any]]] = []  # version, path, event
        self.version, self.oldest = 100, 0
        self.requests: list[tuple[str, dict[str, str], Any]] = []  # path and query, headers, client certificate
        self.changed = threading.Condition()
        self.stopped = False
        self.held: set[str] = set()  # paths that are not answered for now
        self.documents: dict[str, Any] = {}
        self.refused: dict[str, int] = {}
        self.written: list[tuple[str, str, Any]] = []  # path, content type, body
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urllib.parse.urlsplit(self.path)
                certificate = self.connection.getpeercert() if context else None
                api.requests.append((self.path, dict(self.headers), certificate))
                query = dict(urllib.parse.parse_qsl(url.query))
                with api.changed:
                    api.changed.wait_for(lambda: url.path not in api.held)
                if url.path in api.refused:
                    self.json({"kind": "Status", "message": "refused"}, api.refused[url.path])
                elif url.path in api.documents:
                    self.json(api.documents[url.path])
                elif "watch" in query:
                    self.watch(url.path, int(query["resourceVersion"]))
                else:
                    with api.changed:
                        items = list(api.objects.get(url.path, {}).values())
                        self.json({"metadata": {"resourceVersion": str(api.version)}, "items": items})

            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path in api.refused:
                    self.json({"kind": "Status", "message": "refused"}, api.refused[self.path])
                    return
                with api.changed:
                    api.written.append((self.path, self.headers["Content-Type"], body))
                    changed = self.path.endswith("/status") and api.change(self.path, body)
                self.json(body, 409 if changed is None else 200)

            do_PUT = do_POST = do_PATCH

            def json(self, document: Any, status: int = 200) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def watch(self, path: str, version: int) -> None:
                self.close_connection = True
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                while True:
                    with api.changed:
                        if version < api.oldest:
                            self.chunk({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "old"}})
                            break
                        new = [event for event in api.events if event[0] > version]
                        version = api.version
                        for _, where, event in new:
                            if where == path:
                                self.chunk(event)
                        if api.stopped:
                            break
                        api.changed.wait(5)
                self.wfile.write(b"0\r\n\r\n")

            def chunk(self, document: Any) -> None:
                data = json.dumps(document).encode() + b"\n"
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Clients that go away are part of the tests."""

        self.server = Server(("127.0.0.1", port), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def put(self, path: str, namespace: str, name: str, **fields: Any) -> None:
        """Adds or replaces an object."""
        with self.changed:
            self.version += 1
            known = self.objects.setdefault(path, {})
            kind = "MODIFIED" if (namespace, name) in known else "ADDED"
            own = {"namespace": namespace, "name": name, "resourceVersion": str(self.version)}
            item = {**fields, "metadata": {**fields.get("metadata", {}), **own}}
            known[namespace, name] = item
            self._event(path, {"type": kind, "object": item})

    def change(self, path: str, patch: dict[str, Any]) -> Optional[bool]:
        """Writes a status into the object of a cluster-wide collection; None where it is of another resourceVersion."""
        *group, _, namespace, kind, name, _ = path.split("/")
        collection = "/".join([*group, kind])
        item = self.objects.get(collection, {}).get((namespace, name))
        if item is None:
            return False
        seen = item["metadata"]["resourceVersion"]
        if patch.get("metadata", {}).get("resourceVersion", seen) != seen:
            return None
        self.put(collection, namespace, name, **{**item, "status": patch["status"]})
        return True

    def delete(self, path: str, namespace: str, name: str) -> None:
        """Removes an object."""
        with self.changed:
            self.version += 1
            item = self.objects[path].pop((namespace, name))
            item["metadata"]["resourceVersion"] = str(self.version)
            self._event(path, {"type": "DELETED", "object": item})

    def bookmark(self, path: str) -> None:
        """Tells watchers the current version."""
        with self.changed:
            self.version += 1
            item = {"metadata": {"resourceVersion": str(self.version)}}
            self._event(path, {"type": "BOOKMARK", "object": item})

    def compact(self) -> None:
        """Forgets all events: a watch from before is told 410 Gone."""
        with self.changed:
            self.version += 1
            self.events.clear()
            self.oldest = self.version

    def release(self) -> None:
        """Answers what was held."""
        with self.changed:
            self.held.clear()
            self.changed.notify_all()

    def _event(self, path: str, event: dict[str, Any]) -> None:
        self.events.append((self.version, path, json.loads(json.dumps(event))))
        self.changed.notify_all()

    def stop(self) -> None:
        """Ends every watch and frees the port."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self) -> "FakeApi":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()
