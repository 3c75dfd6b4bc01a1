"""haproxy: its configuration, a pure function of the routes, and the running program."""
import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import time
from typing import NamedTuple, Optional

from routes import Key, Routes

SERVED_WITHIN = 10.0  # seconds haproxy may take until a new configuration answers
STOPS_WITHIN = 20.0  # seconds for the connections that are open when we are told to end
MARKER = "INGRESS_CONFIG"  # haproxy's environment says which configuration it runs


class Ports(NamedTuple):
    """Where haproxy listens."""

    http: int
    https: int
    stats: int


class Rejected(Exception):
    """haproxy does not accept a configuration; its own words."""


def render_config(routes: Routes, certificates: str, ports: Ports, folder: str) -> tuple[str, list[str]]:
    """haproxy.cfg, and what of the routes cannot be written into it. `certificates` is render_certificates' text."""
    problems: list[str] = []
    lines: list[str] = []
    for rule in routes.rules:
        conditions = []
        if rule.host.startswith("*."):  # one label more, no dot in it
            conditions.append(f"{{ var(txn.host),regsub(^[^.]+,*) -m str {quote(rule.host)} }}")
        elif rule.host:
            conditions.append(f"{{ var(txn.host) -m str {quote(rule.host)} }}")
        if not all(character.isprintable() for character in rule.path):
            problems.append(f"Ingress {'/'.join(rule.ingress)}: path {rule.path!r} has characters that no request can have")
            continue
        if rule.exact:
            conditions.append(f"{{ path -m str -- {quote(rule.path)} }}")
        elif rule.path not in ("", "/"):  # with a slash at its end, /web matches /web/ and not /website
            conditions.append(f"{{ var(txn.path) -m beg -- {quote(rule.path)} }}")
        when = f" if {' '.join(conditions)}" if conditions else ""
        lines += [f"  # Ingress {'/'.join(rule.ingress)}", f"  use_backend {rule.backend}{when}"]
    for name, backend in sorted(routes.backends.items()):
        lines += ["", f"backend {name}"]
        if backend.problem:
            lines.append(f"  http-request return status 503 content-type text/plain string {quote(backend.problem)}\"\\n\"")
        for server in backend.servers:
            address = f"[{server.address}]" if ":" in server.address else server.address
            lines.append(f"  server {server.name} {address}:{server.port}")
    text = f"""global
  log stdout format raw local0
  stats socket {folder}/stats.sock mode 600 level admin expose-fd listeners
  setenv {MARKER} @MARKER@
  maxconn 4000
  nbthread 2
  hard-stop-after 10m
  mworker-max-reloads 20
  ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
  mode http
  balance roundrobin
  option dontlognull
  # A pod that went is not asked again: the next one gets the request, if it can be sent twice.
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response
  timeout connect 500ms
  timeout client 60s
  timeout server 60s
  timeout queue 5s
  timeout http-request 10s
  timeout tunnel 1h

frontend stats
  bind :{ports.stats}
  monitor-uri /ready
  stats enable
  stats uri /
  stats show-legends
  stats refresh 5s

backend no-rule
  http-request return status 404 content-type text/plain lf-string "no Ingress rule for host %[var(txn.host)], path %[path]\\n"

frontend ingress
  log global
  bind :{ports.http}
  bind :{ports.https} ssl crt-list {folder}/crt-list strict-sni alpn h2,http/1.1
  http-request set-var(txn.host) req.hdr(host),host_only,lower
  http-request set-var(txn.path) path,concat(/)
  http-request set-var(txn.asked) path
  http-request disable-l7-retry unless {{ method GET HEAD OPTIONS }}
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  log-format "%[date,utime(%Y-%m-%dT%H:%M:%SZ)] client=%ci:%cp method=%HM host=%{{+Q,+E}}[var(txn.host)] path=%{{+Q,+E}}[var(txn.asked)] status=%ST backend=%b pod=%s address=%si:%sp ms=%Ta"
  default_backend no-rule
""" + "\n".join([*lines, *(f"# {line}" for line in certificates.splitlines())]) + "\n"
    return text.replace("@MARKER@", hashlib.sha256(text.encode()).hexdigest()[:16]), problems


def quote(text: str) -> str:
    """One word of haproxy's configuration, whatever is in it."""
    return "'" + text.replace("'", "'\\''") + "'"


def render_certificates(files: dict[Key, str], routes: Routes) -> str:
    """The crt-list: which file serves which names (SNI)."""
    return "".join(" ".join([files[key], *hosts]) + "\n" for key, hosts in routes.certificates.items() if key in files)


class Haproxy:
    """The running master with its workers."""

    def __init__(self, program: str, folder: str) -> None:
        self.program, self.folder = program, folder
        self.file = os.path.join(folder, "haproxy.cfg")
        self.config = ""
        self.process: Optional[subprocess.Popen[bytes]] = None

    def serve(self, config: str, certificates: str) -> str:
        """Makes haproxy serve this and waits until it does; returns what that took, "" for nothing.

        A reload starts a new worker, which gets the listening sockets from the old one: no connection is lost.
        """
        if config == self.config:
            return ""
        self.config = config
        write(os.path.join(self.folder, "crt-list"), certificates)
        write(self.file + ".new", config)
        tried = subprocess.run([self.program, "-c", "-f", self.file + ".new"], capture_output=True, check=False)
        if tried.returncode:
            said = tried.stderr.decode(errors="replace").splitlines()
            raise Rejected("; ".join(line for line in said if line.startswith("[ALERT]")))
        os.replace(self.file + ".new", self.file)
        if self.process:
            how = "reload"
            self.process.send_signal(signal.SIGUSR2)
        else:
            how = "start"
            self.process = subprocess.Popen([self.program, "-W", "-f", self.file])
        marker = next(line.split()[2] for line in config.splitlines() if line.startswith(f"  setenv {MARKER} "))
        deadline = time.monotonic() + SERVED_WITHIN
        while self._running() != marker:
            self.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"controller.py: haproxy does not serve {self.file} after {SERVED_WITHIN:g} s")
            time.sleep(0.02)
        return how

    def _running(self) -> str:
        """The marker of the configuration that the newest worker has."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(1)
            sock.connect(os.path.join(self.folder, "stats.sock"))
            sock.sendall(f"show env {MARKER}\n".encode())
            return sock.recv(1024).decode().strip().removeprefix(f"{MARKER}=")
        return ""

    def check(self) -> None:
        """Ends this process when haproxy has ended."""
        if self.process and self.process.poll() is not None:
            raise SystemExit(f"controller.py: haproxy ended with code {self.process.returncode}")

    def stop(self) -> None:
        """Takes no more connections, lets those that are open end, and waits for that."""
        if self.process:
            self.process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOPS_WITHIN)
                return
            self.process.kill()
            self.process.wait()


def write(path: str, text: str) -> None:
    """A file of ours alone: it may hold a key."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
