"""Keeps a copy of one kind of Kubernetes object up to date, with the standard library only.

List, then watch from the list's resourceVersion; on 410 Gone list again:
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
Used by the cluster DNS feeder in this folder, and by bird/announcer.py and images/ingress/, which are installed next to
this file.
"""
import http.client
import json
import os
import random
import socket
import ssl
import threading
import time
import traceback
import urllib.parse
from typing import Any, Callable, Iterator, Optional

CONNECT_TIMEOUT = 5.0  # seconds
WATCH_SECONDS = 300  # the API server ends a watch after that long; a new one goes on where it ended
BACKOFF_FIRST, BACKOFF_MAX = 0.1, 2.0  # seconds; short, because a lab waits for us while its API server starts

KubeObject = dict[str, Any]
Objects = dict[tuple[str, str], KubeObject]  # by namespace and name


def log(text: str) -> None:
    """One line with the time in UTC on standard output, in one write: signal handlers and threads use it too."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    os.write(1, f"{stamp}.{int(now * 1000) % 1000:03d}Z {text}\n".encode())


class Gone(Exception):
    """The resourceVersion is too old (410): only a new list helps."""


class Refused(OSError):
    """The API server answered, with another status than success; `status` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class KubeApi:
    """Where the API server is and how to log in: a service account's token file, or a client certificate file."""

    def __init__(self, url: str, ca: str, token_file: Optional[str] = None, cert: Optional[str] = None) -> None:
        self.url = urllib.parse.urlsplit(url)
        self.ca, self.token_file, self.cert = ca, token_file, cert

    def request(self, method: str, path: str, read_timeout: float,
                body: Any = None) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Starts a request; the caller closes the connection. Files are read each time: tokens and certificates rotate.

        `body` is sent as JSON, to PATCH as a merge patch. Any answer but 200 and 201 is a Refused, or Gone for 410.
        """
        if self.url.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.url.hostname or "", self.url.port, timeout=CONNECT_TIMEOUT, context=context)
        else:
            connection = http.client.HTTPConnection(self.url.hostname or "", self.url.port, timeout=CONNECT_TIMEOUT)
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = f"application/{'merge-patch+json' if method == 'PATCH' else 'json'}"
        if self.token_file:
            with open(self.token_file, encoding="ascii") as file:
                headers["Authorization"] = "Bearer " + file.read().strip()
        try:
            connection.connect()
            keep_alive(connection.sock)
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            connection.sock.settimeout(read_timeout)
            if response.status == 410:
                raise Gone(path)
            if response.status not in (200, 201):
                raise Refused(response.status,
                              f"{method} {path}: HTTP {response.status}: {response.read(300).decode(errors='replace')}")
        except BaseException:
            connection.close()
            raise
        return connection, response

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """The document that the API server answers with."""
        connection, response = self.request(method, path, CONNECT_TIMEOUT, body)
        try:
            return json.load(response)
        finally:
            connection.close()

    def list(self, path: str) -> tuple[Objects, str]:
        """All objects and the resourceVersion they were read at."""
        document = self.send("GET", path)
        return {key_of(item): item for item in document.get("items") or []}, document["metadata"]["resourceVersion"]

    def watch(self, path: str, version: str, opened: Callable[[], None]) -> Iterator[tuple[str, KubeObject]]:
        """Event types and objects as they come, until the server ends the watch; Gone when `version` is too old.

        `opened` is called when the server has accepted the watch, which may be long before its first event.
        """
        query = f"{'&' if '?' in path else '?'}watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}"
        connection, response = self.request("GET", path + query, WATCH_SECONDS + CONNECT_TIMEOUT)
        try:
            opened()
            while line := response.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    if status.get("code") == 410:
                        raise Gone(path)
                    raise OSError(f"watch {path}: {status.get('message')}")
                yield event["type"], event["object"]
        finally:
            connection.close()


def keep_alive(sock: socket.socket) -> None:
    """Notices within 20 s that a silent API server has vanished, long before the watch would end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 2)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def key_of(item: KubeObject) -> tuple[str, str]:
    """Namespace and name; cluster-wide objects have an empty namespace."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


class Mirror:
    """A thread that keeps `objects` equal to what the API server has; the last known stays while it is unreachable.

    `changed` is called from the thread after each change. Read `snapshot()` from other threads.
    """

    def __init__(self, api: KubeApi, path: str, changed: Callable[[], None]) -> None:
        self.api, self.path, self.changed = api, path, changed
        self.synced = False
        self._objects: Objects = {}
        self._version: Optional[str] = None
        self._complaint = ""
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts the thread. It ends with the process, and the process with it: a copy that went stale is worse."""
        def run() -> None:
            try:
                self._run()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        threading.Thread(target=run, name=self.path, daemon=True).start()

    def snapshot(self) -> Objects:
        """A copy of the map; its objects are never modified."""
        with self._lock:
            return dict(self._objects)

    def _run(self) -> None:
        backoff = BACKOFF_FIRST
        while True:
            started = time.monotonic()
            try:
                self._follow()
            except Gone:
                self._version = None
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                complaint = f"{type(error).__name__}: {error}"
                if complaint != self._complaint:  # the same news every two seconds is no news
                    log(f"{self.path}: {complaint}; trying again")
                self._complaint = complaint
            if time.monotonic() - started > BACKOFF_MAX:
                backoff = BACKOFF_FIRST  # it had worked for a while
            else:
                time.sleep(backoff * random.uniform(0.5, 1.0))
                backoff = min(backoff * 2, BACKOFF_MAX)

    def _follow(self) -> None:
        """One list, if there is no version to go on from, and one watch."""
        if self._version is None:
            objects, version = self.api.list(self.path)
            with self._lock:
                self._objects, self._version, self.synced = objects, version, True
            self.changed()
        for kind, item in self.api.watch(self.path, self._version, self._recovered):
            self._version = item["metadata"]["resourceVersion"]
            if kind != "BOOKMARK":
                with self._lock:
                    if kind == "DELETED":
                        self._objects.pop(key_of(item), None)
                    else:
                        self._objects[key_of(item)] = item
                self.changed()

    def _recovered(self) -> None:
        if self._complaint:
            log(f"{self.path}: watching again")
            self._complaint = ""
