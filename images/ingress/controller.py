#!/usr/bin/python3
"""Ingress controller: feeds haproxy from the Kubernetes API and keeps it running. PID 1 of the ingress container.

It watches Ingresses, their classes, Services and Endpoints with the pod's service account (routes.py), renders haproxy's
configuration (haproxy.py) and lets haproxy reload it; haproxy starts after the first complete list, so that nobody is
told 404 for what has not been read yet. TLS Secrets are read one by one by their names, for which a namespace grants
`get` on its own. What cannot be done is logged once, with what helps. When the API cannot be reached the last known
routes stay. The process ends with code 1 when haproxy does, so that the kubelet sees it.

Environment:
    INGRESS_CONTROLLER        lab.internal/ingress: spec.controller of the IngressClasses that are ours
    PUBLISH_SERVICE           the Service in front of us, in our namespace: its address is written into the Ingresses'
                              status; nothing is written without it
    HTTP_PORT, HTTPS_PORT     8080, 8443
    STATS_PORT                8404: GET / lists the backends (/;csv for programs), GET /ready is 200 once haproxy serves
    DRAIN_SECONDS             3: after SIGTERM connections are taken as long, until nobody sends us any
    RUN_DIR                   /run/ingress: the files for haproxy
    HAPROXY                   haproxy: the program
    KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT      set by the kubelet
    SERVICE_ACCOUNT           /var/run/secrets/kubernetes.io/serviceaccount: token, ca.crt and namespace
    KUBERNETES_SCHEME         https; tests use http
"""
import base64
import hashlib
import http.client
import os
import signal
import ssl
import sys
import threading
import time
from typing import Iterable, Optional

from haproxy import Haproxy, Ports, Rejected, render_certificates, render_config, write
from kube_watch import KubeApi, Mirror, Refused, log
from routes import Key, Routes, build_routes, published_addresses

SETTLE = 0.05  # seconds: changes that come together are served together
CHECK_INTERVAL = 1.0  # seconds between looks at whether haproxy still runs
SECRETS_INTERVAL = 5.0  # seconds between looks at the TLS Secrets
API_ERRORS = (OSError, ValueError, KeyError, http.client.HTTPException)


class Secrets:
    """The certificates with their keys, as files for haproxy; the last known stay while the API is away."""

    def __init__(self, api: KubeApi, folder: str) -> None:
        self.api, self.folder = api, folder
        self.files: dict[Key, str] = {}
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def read(self, keys: Iterable[Key]) -> list[str]:
        """Brings `files` up to date; returns what is wrong."""
        before, self.files = self.files, {}
        problems = []
        for namespace, name in keys:
            known = before.get((namespace, name))
            try:
                data = self.api.send("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}").get("data") or {}
                pem = "".join(base64.b64decode(data[part]).decode().strip() + "\n" for part in ("tls.crt", "tls.key"))
                # The name changes with the content, so that haproxy's configuration does too.
                path = f"{self.folder}/{namespace}.{name}.{hashlib.sha256(pem.encode()).hexdigest()[:16]}.pem"
                if path != known:
                    write(path, pem)
                    ssl.create_default_context().load_cert_chain(path)
                self.files[namespace, name] = path
            except Refused as error:
                if known and error.status not in (403, 404):
                    self.files[namespace, name] = known
                said = {404: "it does not exist", 403: "we may not read it; grant it with:"
                        f" kubectl create role ingress-tls -n {namespace} --verb=get --resource=secrets --resource-name={name};"
                        f" kubectl create rolebinding ingress-tls -n {namespace} --role=ingress-tls --serviceaccount=NAMESPACE:NAME,"
                        f" which the API server tells: {error}"}
                problems.append(f"Secret {namespace}/{name}: {said.get(error.status, error)}")
            except KeyError as error:
                problems.append(f"Secret {namespace}/{name} has no {error}")
            except (ValueError, ssl.SSLError) as error:
                problems.append(f"Secret {namespace}/{name} is no certificate with its key: {error}")
            except (OSError, http.client.HTTPException):  # Mirror tells that the API is away
                if known:
                    self.files[namespace, name] = known
        return problems

    def tidy(self) -> None:
        """Removes the files that nothing uses any more."""
        for name in os.listdir(self.folder):
            if os.path.join(self.folder, name) not in self.files.values():
                os.unlink(os.path.join(self.folder, name))


class Controller:
    """What it watches, and how that becomes haproxy's configuration and the Ingresses' status."""

    def __init__(self, api: KubeApi, haproxy: Haproxy, ports: Ports, controller: str, publish: Optional[Key]) -> None:
        self.api, self.haproxy, self.ports, self.controller, self.publish = api, haproxy, ports, controller, publish
        self.news = threading.Event()
        self.group = f"/apis/networking.k8s.io/{served_version(api)}"
        self.ingresses, self.classes, self.services, self.endpoints = mirrors = [
            Mirror(api, path, self.news.set) for path in
            (f"{self.group}/ingresses", f"{self.group}/ingressclasses", "/api/v1/services", "/api/v1/endpoints")]
        self.pods = Mirror(api, f"/api/v1/namespaces/{publish[0]}/pods", self.news.set) if publish else None
        self.mirrors = [*mirrors, self.pods] if self.pods else mirrors
        self.secrets = Secrets(api, os.path.join(haproxy.folder, "tls"))
        self.secrets_read = 0.0
        self.told: set[str] = set()
        for mirror in self.mirrors:
            mirror.start()

    def run(self, ends: "Ends") -> None:
        """Until haproxy ends or it is told to."""
        while not ends.now():
            changed = self.news.wait(CHECK_INTERVAL)
            self.haproxy.check()
            if not (changed or time.monotonic() > self.secrets_read + SECRETS_INTERVAL):
                continue
            if changed:
                time.sleep(SETTLE)
                self.news.clear()
            if all(mirror.synced for mirror in self.mirrors):
                self.serve()

    def serve(self) -> None:
        """One round: routes, certificates, configuration, status."""
        started = time.monotonic()
        routes = build_routes(*(mirror.snapshot() for mirror in (
            self.ingresses, self.classes, self.services, self.endpoints)), self.controller)
        problems = routes.problems + self.secrets.read(routes.certificates)
        self.secrets_read = time.monotonic()
        certificates = render_certificates(self.secrets.files, routes)
        config, unwritten = render_config(routes, certificates, self.ports, self.haproxy.folder)
        try:
            how = self.haproxy.serve(config, certificates)
            if how:
                log(f"{len(routes.ingresses)} Ingresses, {len(routes.rules)} rules, {len(routes.backends)} backends,"
                    f" {sum(len(backend.servers) for backend in routes.backends.values())} endpoints: haproxy {how},"
                    f" served after {(time.monotonic() - started) * 1000:.0f} ms")
                self.secrets.tidy()
        except Rejected as error:
            problems.append(f"haproxy goes on with the configuration that it has, it does not accept the new one: {error}")
        self.tell(problems + unwritten + self.write_status(routes))

    def write_status(self, routes: Routes) -> list[str]:
        """Where our Ingresses are reached, into their status; every replica would write the same. What is wrong."""
        if not (self.publish and self.pods):
            return []
        ingresses, problems = self.ingresses.snapshot(), []
        wanted = published_addresses(self.services.snapshot().get(self.publish, {}),
                                     self.endpoints.snapshot().get(self.publish, {}), self.pods.snapshot())
        for namespace, name in routes.ingresses:
            seen = (ingresses.get((namespace, name), {}).get("status") or {}).get("loadBalancer") or {}
            if [{kind: each[kind] for kind in ("ip", "hostname") if kind in each}
                    for each in seen.get("ingress") or []] == wanted:
                continue
            try:
                self.api.send("PATCH", f"{self.group}/namespaces/{namespace}/ingresses/{name}/status",
                              {"status": {"loadBalancer": {"ingress": wanted}}})
                log(f"Ingress {namespace}/{name}: address {' '.join(address for each in wanted for address in each.values()) or 'none'}")
            except API_ERRORS as error:
                if not isinstance(error, Refused) or error.status != 404:  # deleted meanwhile
                    problems.append(f"Ingress {namespace}/{name}: its status was not written: {error}")
        return problems

    def tell(self, problems: list[str]) -> None:
        """Logs what is new; the same every few seconds is no news."""
        for problem in problems:
            if problem not in self.told:
                log(problem)
        self.told = set(problems)


class Ends:
    """SIGTERM and SIGINT: when this process is to end. Connections come until every proxy knows that we go."""

    def __init__(self, haproxy: Haproxy, drain: float) -> None:
        self.haproxy, self.drain, self.at = haproxy, drain, 0.0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)

    def _told(self, number: int, _frame: Optional[object]) -> None:
        drain = self.drain if self.haproxy.process else 0
        log(f"{signal.Signals(number).name}: ends after {drain:g} s")
        if not drain:
            sys.exit(0)
        self.at = self.at or time.monotonic() + drain

    def now(self) -> bool:
        """Whether that time has come."""
        return 0 < self.at < time.monotonic()


def served_version(api: KubeApi) -> str:
    """v1 of networking.k8s.io where it is served, else v1beta1; waits for the API server."""
    complaint = ""
    while True:
        try:
            versions = {each["version"] for each in api.send("GET", "/apis/networking.k8s.io")["versions"]}
            return "v1" if "v1" in versions else "v1beta1"
        except API_ERRORS as error:
            if complaint != str(error):
                log(f"/apis/networking.k8s.io: {error}; trying again")
            complaint = str(error)
            time.sleep(0.5)


def main() -> None:
    """Runs until a signal comes or haproxy ends."""
    env = os.environ.get
    host, port = env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        sys.exit("controller.py: KUBERNETES_SERVICE_HOST must be set")
    account, folder = env("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"), env("RUN_DIR", "/run/ingress")
    publish: Optional[Key] = None
    if env("PUBLISH_SERVICE"):
        with open(f"{account}/namespace", encoding="ascii") as file:
            publish = file.read().strip(), env("PUBLISH_SERVICE", "")
    os.makedirs(folder, exist_ok=True)
    ports = Ports(int(env("HTTP_PORT", "8080")), int(env("HTTPS_PORT", "8443")), int(env("STATS_PORT", "8404")))
    api = KubeApi(f"{env('KUBERNETES_SCHEME', 'https')}://{host}:{port}", f"{account}/ca.crt", f"{account}/token")
    haproxy = Haproxy(env("HAPROXY", "haproxy"), folder)
    ends = Ends(haproxy, float(env("DRAIN_SECONDS", "3")))
    try:
        Controller(api, haproxy, ports, env("INGRESS_CONTROLLER", "lab.internal/ingress"), publish).run(ends)
    finally:
        haproxy.stop()


if __name__ == "__main__":
    main()
