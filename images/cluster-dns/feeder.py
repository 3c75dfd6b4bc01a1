#!/usr/bin/python3
"""Cluster DNS: feeds dnsmasq from the Kubernetes API and keeps it running. PID 1 of the cluster-dns container.

It watches Services, Endpoints, Pods and Nodes with the pod's service account, renders the records (records.py), and
lets dnsmasq read them: a changed hosts file takes a SIGHUP, a changed configuration (SRV and CNAME records) a restart,
some 15 ms. dnsmasq starts only after the first complete list, so that nobody is told NXDOMAIN for what has not been
read yet. When the API cannot be reached the last known records stay. The process ends with code 1 when dnsmasq does,
so that the kubelet sees it.

Environment:
    DNS_LISTEN                addresses to answer on, with commas (required), on UDP and TCP
    DNS_PORT                  53
    DNS_ZONE                  cluster.local
    READY_PORT                8181: GET /ready is 200 once dnsmasq serves the first complete list, GET /healthz always
    RUN_DIR                   /run/cluster-dns: the files for dnsmasq
    DNSMASQ                   dnsmasq: the program
    KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT      set by the kubelet
    SERVICE_ACCOUNT           /var/run/secrets/kubernetes.io/serviceaccount: token and ca.crt
    KUBERNETES_SCHEME         https; tests use http
"""
import http.server
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any, Optional

from kube_watch import KubeApi, Mirror, log
from records import build_records, marker, render_config, render_hosts

SETTLE = 0.05  # seconds: changes that come together (a pod's Endpoints of five Services) are served together
CHECK_INTERVAL = 1.0  # seconds between looks at whether dnsmasq still runs
SERVED_WITHIN = 5.0  # seconds dnsmasq may take to answer from new records
MARKER_ADDRESS = "127.0.0.1"


class Dnsmasq:
    """The running dnsmasq and the files it was given."""

    def __init__(self, program: str, folder: str, listen: list[str], port: int, zone: str) -> None:
        self.program, self.listen, self.port, self.zone = program, listen, port, zone
        self.config_file = os.path.join(folder, "dnsmasq.conf")
        self.hosts_file = os.path.join(folder, "hosts")
        self.config = self.hosts = ""
        self.process: Optional[subprocess.Popen[bytes]] = None

    def serve(self, hosts: str, config: str) -> str:
        """Makes dnsmasq serve these files and waits until it does; returns what that took, "" for nothing."""
        if (hosts, config) == (self.hosts, self.config):
            return ""
        name = marker(hosts)
        write(self.hosts_file, f"{hosts}{MARKER_ADDRESS} localhost {name}\n")
        if self.process and config == self.config:
            how = "reload"
            self.process.send_signal(signal.SIGHUP)
        else:
            how = "restart" if self.process else "start"
            self.stop()
            write(self.config_file, config)
            self.process = subprocess.Popen([self.program, f"--conf-file={self.config_file}"])
        self.hosts, self.config = hosts, config
        deadline = time.monotonic() + SERVED_WITHIN
        while not all(answers(address, self.port, name) for address in self.listen):
            self.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"feeder.py: dnsmasq does not serve {self.hosts_file} after {SERVED_WITHIN:g} s")
        return how

    def check(self) -> None:
        """Ends this process when dnsmasq has ended."""
        if self.process and self.process.poll() is not None:
            raise SystemExit(f"feeder.py: dnsmasq ended with code {self.process.returncode}")

    def stop(self) -> None:
        """Ends dnsmasq and waits for its ports to be free."""
        if self.process:
            self.process.terminate()
            self.process.wait()


def write(path: str, text: str) -> None:
    """Replaces a file as a whole: dnsmasq never reads half of it."""
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(text)
    os.replace(path + ".new", path)


def answers(address: str, port: int, name: str) -> bool:
    """Asks dnsmasq for an A record and says whether there is one; tries for 50 ms."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + struct.pack("!BHH", 0, 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.05)
        try:
            sock.connect((address, port))
            sock.send(struct.pack("!6H", os.getpid() & 0xFFFF, 0x0100, 1, 0, 0, 0) + question)
            reply = sock.recv(512)
        except ConnectionRefusedError:  # not listening yet
            time.sleep(0.01)
            return False
        except OSError:
            return False
    _id, flags, _questions, found = struct.unpack_from("!4H", reply)
    return bool(flags & 15 == 0 and found > 0)


class Ready(http.server.BaseHTTPRequestHandler):
    """Answers the kubelet's probes."""

    served = False

    def do_GET(self) -> None:
        """/ready and /healthz."""
        known = {"/ready": 200 if Ready.served else 503, "/healthz": 200}
        status = known.get(self.path, 404)
        body = f"{http.HTTPStatus(status).phrase}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Probes every few seconds are no news."""


def terminate(number: int, _frame: Optional[object]) -> None:
    """PID 1 needs handlers; SystemExit leads to the clean end in main()."""
    log(f"stopped by {signal.Signals(number).name}")
    sys.exit(0)


def main() -> None:
    """Runs until a signal comes or dnsmasq ends."""
    env = os.environ.get
    listen = [address.strip() for address in env("DNS_LISTEN", "").split(",") if address.strip()]
    host, port = env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT", "443")
    if not listen or not host:
        sys.exit("feeder.py: DNS_LISTEN and KUBERNETES_SERVICE_HOST must be set")
    zone, folder = env("DNS_ZONE", "cluster.local"), env("RUN_DIR", "/run/cluster-dns")
    account = env("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount")
    os.makedirs(folder, exist_ok=True)
    dnsmasq = Dnsmasq(env("DNSMASQ", "dnsmasq"), folder, listen, int(env("DNS_PORT", "53")), zone)

    news = threading.Event()
    api = KubeApi(f"{env('KUBERNETES_SCHEME', 'https')}://{host}:{port}", f"{account}/ca.crt", f"{account}/token")
    mirrors = [Mirror(api, f"/api/v1/{kind}", news.set) for kind in ("services", "endpoints", "pods", "nodes")]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, terminate)
    probes = http.server.ThreadingHTTPServer(("", int(env("READY_PORT", "8181"))), Ready)
    threading.Thread(target=probes.serve_forever, name="probes", daemon=True).start()
    for mirror in mirrors:
        mirror.start()
    try:
        while True:
            changed = news.wait(CHECK_INTERVAL)
            dnsmasq.check()
            if not changed:
                continue
            time.sleep(SETTLE)
            news.clear()
            if not all(mirror.synced for mirror in mirrors):
                continue
            started = time.monotonic()
            services, endpoints, pods, nodes = (mirror.snapshot() for mirror in mirrors)
            records = build_records(services, endpoints, pods, nodes, zone)
            config = render_config(records, zone, listen, dnsmasq.port, dnsmasq.hosts_file)
            how = dnsmasq.serve(render_hosts(records), config)
            Ready.served = True
            if how:
                log(f"{len(records.hosts)} addresses, {len(records.services)} SRV records, {len(records.aliases)} aliases:"
                    f" dnsmasq {how}, served after {(time.monotonic() - started) * 1000:.0f} ms")
    finally:
        dnsmasq.stop()


if __name__ == "__main__":
    main()
