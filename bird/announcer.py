#!/usr/bin/python3
"""Tells BIRD which service addresses this node announces. A daemon on every Kubernetes node.

    announcer.py CONFIG.json

    {"nodeName": "k8sworker1", "apiServer": "https://192.168.13.30:6443", "ca": "/etc/kubernetes/pki/ca.crt",
     "cert": "/var/lib/kubelet/pki/kubelet-client-current.pem",        client certificate and key in one file
     "serviceCidr": "10.96.0.0/12", "externalCidrs": ["2.2.2.2/32"], "output": "/etc/bird/services.conf", "reload": ["birdc", "configure"]}

It writes one line per route, `route 2.2.2.2/32 blackhole;`, to be included in a `protocol static` of BIRD 1.6, where
`include` has to stand on a line of its own. Nothing is announced while the node has the label
node.kubernetes.io/exclude-from-external-load-balancers with the value "true" (kubeadm's empty one does not count, as with
Calico). Otherwise announced are the service CIDR and every address in externalCidrs that a Service has in
spec.externalIPs or status.loadBalancer.ingress:

    externalTrafficPolicy Cluster   always, from every node (as Calico does for a /32 in serviceExternalIPs)
    externalTrafficPolicy Local     while kube-proxy has a ready endpoint on this node, which it says on the
                                    Service's healthCheckNodePort (status 200 and localEndpoints > 0)

The health check is asked, and not the API, because the node authorizer lets a node list Services but not Endpoints,
and because what counts is whether kube-proxy here would deliver. A Local Service without healthCheckNodePort (only
type LoadBalancer gets one) is therefore never announced. The last known Services stay while the API server is away.
"""
import http.client
import ipaddress
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple, Optional

from kube_watch import KubeApi, KubeObject, Mirror, Objects, log

POLL_INTERVAL = 0.4  # seconds between two questions to kube-proxy
HEALTH_TIMEOUT = 2.0  # seconds; a kube-proxy that needs longer would not serve either
IDLE_INTERVAL = 60.0  # seconds between two looks when no Service has to be asked for
START_GRACE = 5.0  # seconds after which routes left by an earlier run go, if the API has not answered
RELOAD_RETRY = 1.0  # seconds after a failed reload
RELOAD_TIMEOUT = 10.0
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
CONFIG_KEYS = {"nodeName": str, "apiServer": str, "ca": str, "cert": str, "serviceCidr": str, "externalCidrs": list,
               "output": str, "reload": list}


class Candidate(NamedTuple):
    """An address that a Service wants announced; health_port None means without asking."""

    address: str
    service: str
    health_port: Optional[int]


def candidates(services: Objects, cidrs: list[str]) -> tuple[set[Candidate], list[str]]:
    """What this node could announce, and a line for each Service that it cannot decide about."""
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    found: set[Candidate] = set()
    puzzles: list[str] = []
    for (namespace, name), service in services.items():
        inside = [address for address in external_addresses(service)
                  if any(ipaddress.ip_address(address) in network for network in networks)]
        local = service["spec"].get("externalTrafficPolicy") == "Local"
        port = service["spec"].get("healthCheckNodePort")
        if local and not port and inside:
            puzzles.append(f"{namespace}/{name} is not announced: externalTrafficPolicy Local, no healthCheckNodePort")
            continue
        found.update(Candidate(address, f"{namespace}/{name}", port if local else None) for address in inside)
    return found, puzzles


def external_addresses(service: KubeObject) -> list[str]:
    """externalIPs, and the addresses that a load balancer controller wrote into the status."""
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [*(service["spec"].get("externalIPs") or []), *(entry["ip"] for entry in ingress if entry.get("ip"))]


def has_local_endpoint(port: int) -> bool:
    """kube-proxy's answer for one Service (pkg/proxy/healthcheck/service_health.go); no answer is a no."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HEALTH_TIMEOUT)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return response.status == 200 and json.load(response)["localEndpoints"] > 0
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_excluded(node: Optional[KubeObject]) -> bool:
    """Whether the node is taken out of load balancing."""
    return node is not None and (node["metadata"].get("labels") or {}).get(EXCLUDED) == "true"


def render(prefixes: set[str]) -> str:
    """The lines for BIRD, sorted by address."""
    ordered = sorted((ipaddress.ip_network(prefix) for prefix in prefixes), key=lambda net: (net.version, net))
    return "".join(f"route {network} blackhole;\n" for network in ordered)


def accepted(program: str, said: str) -> bool:
    """birdc 1.6 exits with 0 even when BIRD refuses the configuration; only what it says tells."""
    if os.path.basename(program) not in ("birdc", "birdc6", "birdcl"):
        return True
    return "Reconfigured" in said or "Reconfiguration in progress" in said


class Output:
    """The file that BIRD includes, and whether BIRD has read it."""

    def __init__(self, path: str, reload: list[str]) -> None:
        self.path, self.reload = path, reload
        self.reloaded = False  # an earlier run may have ended between writing and reloading
        self.complaint = ""
        try:
            with open(path, encoding="ascii") as file:
                self.text: Optional[str] = file.read()
        except FileNotFoundError:
            self.text = None

    def set(self, prefixes: set[str]) -> None:
        """Writes what changed and reloads BIRD; a reload that failed is tried again at the next call."""
        text = render(prefixes)
        if text != self.text:
            self._write(text)
            self.reloaded = False
            log("announced: " + (" ".join(sorted(prefixes)) or "nothing"))
        if not self.reloaded:
            self._reload()

    def _write(self, text: str) -> None:
        with open(self.path + ".new", "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        os.replace(self.path + ".new", self.path)
        self.text = text

    def _reload(self) -> None:
        try:
            done = subprocess.run(self.reload, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=RELOAD_TIMEOUT, check=False)
            said = done.stdout.decode(errors="replace").strip()
            complaint = "" if done.returncode == 0 and accepted(self.reload[0], said) else f"{said} ({done.returncode})"
        except (OSError, subprocess.TimeoutExpired) as error:
            complaint = str(error)
        self.reloaded = not complaint
        if complaint != self.complaint:
            log(f"{' '.join(self.reload)}: {complaint or 'works again'}")
        self.complaint = complaint


class Announcer:
    """Decides, again and again, which addresses are announced now."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.cidrs: list[str] = config["externalCidrs"]
        self.output = Output(config["output"], config["reload"])
        self.news = threading.Event()
        self.node_name: str = config["nodeName"]
        self.always: set[str] = {config["serviceCidr"]}
        api = KubeApi(config["apiServer"], config["ca"], cert=config["cert"])
        self.services = Mirror(api, "/api/v1/services", self.news.set)
        self.nodes = Mirror(api, f"/api/v1/nodes?fieldSelector=metadata.name%3D{self.node_name}", self.news.set)
        self.health: dict[int, bool] = {}
        self.puzzles: list[str] = []
        self.started = time.monotonic()

    def run(self) -> None:
        """Never returns; a signal handler raises SystemExit, and then the routes are withdrawn."""
        if self.output.text is None:
            self.output.set(self.always)  # BIRD refuses a configuration that includes a missing file
        self.services.start()
        self.nodes.start()
        try:
            while True:
                wait = self.step()
                self.news.wait(wait)
                self.news.clear()
        finally:
            self.output.set(self.always)

    def step(self) -> float:
        """One decision; returns the seconds until the next one is due."""
        if not (self.services.synced and self.nodes.synced):
            left = self.started + START_GRACE - time.monotonic()
            if left > 0:
                return left
            self.output.set(self.always)
            return IDLE_INTERVAL if self.output.reloaded else RELOAD_RETRY
        if is_excluded(self.nodes.snapshot().get(("", self.node_name))):
            self.output.set(set())
            return IDLE_INTERVAL if self.output.reloaded else RELOAD_RETRY
        wanted, puzzles = candidates(self.services.snapshot(), self.cidrs)
        for puzzle in puzzles:
            if puzzle not in self.puzzles:
                log(puzzle)
        self.puzzles = puzzles
        ports = {candidate.health_port for candidate in wanted if candidate.health_port is not None}
        health = {port: has_local_endpoint(port) for port in ports}
        for candidate in sorted(wanted, key=lambda each: each.service):
            port = candidate.health_port
            if port is not None and health[port] != self.health.get(port):
                log(f"{candidate.service}: {'a' if health[port] else 'no'} ready endpoint here (health check {port})")
        self.health = health
        ready = [each.address for each in wanted if each.health_port is None or health[each.health_port]]
        self.output.set(self.always | set(ready))
        if ports:
            return POLL_INTERVAL
        return IDLE_INTERVAL if self.output.reloaded else RELOAD_RETRY


def read_config(path: str) -> dict[str, Any]:
    """The configuration file; SystemExit names what is wrong with it."""
    try:
        with open(path, encoding="utf-8") as file:
            config: dict[str, Any] = json.load(file)
        for key, kind in CONFIG_KEYS.items():
            if not isinstance(config.get(key), kind):
                raise ValueError(f"{key} is missing or no {kind.__name__}")
        for cidr in config["externalCidrs"]:
            ipaddress.ip_network(cidr)
        ipaddress.ip_network(config["serviceCidr"])
    except (OSError, ValueError, AttributeError) as error:
        raise SystemExit(f"announcer.py: {path}: {error}") from None
    return config


def terminate(number: int, _frame: Optional[object]) -> None:
    """A clean end, through Announcer.run."""
    signal.signal(number, signal.SIG_IGN)
    log(f"stopped by {signal.Signals(number).name}")
    sys.exit(0)


def main(arguments: list[str]) -> None:
    """Runs until a signal comes."""
    if len(arguments) != 1:
        print("usage: announcer.py CONFIG.json", file=sys.stderr)
        sys.exit(2)
    config = read_config(arguments[0])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, terminate)
    log(f"{config['nodeName']}: {', '.join(config['externalCidrs'])} -> {config['output']}")
    Announcer(config).run()


if __name__ == "__main__":
    main(sys.argv[1:])
