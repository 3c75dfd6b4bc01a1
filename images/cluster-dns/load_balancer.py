#!/usr/bin/python3
"""Gives Services of type LoadBalancer their addresses: writes status.loadBalancer, as a cloud's controller would.

Who gets one: a Service of type LoadBalancer without spec.externalIPs and without a loadBalancerClass, or with this one's.
Which one: what spec.loadBalancerIP asks for, else the first free address of LB_POOL; the oldest Service comes first, and
what a Service has it keeps. A Service that must wait has an Event AllocationFailed that says why. An address is free again
when its Service is deleted or is no LoadBalancer any more. Addresses that somebody else wrote are left alone, and where
MetalLB is installed (it serves the group metallb.io) no new ones are given.

The status is all that this program remembers, so it can end and start at any time. Its writes name the resourceVersion
that was decided on, and nothing is decided on what is older than its own writes.

Environment:
    LB_POOL          prefixes with commas (required): addresses for every Service
    LB_ON_REQUEST    prefixes with commas: only for Services that ask for one of them
    KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT, KUBERNETES_SCHEME, SERVICE_ACCOUNT      as feeder.py has them
"""
import http.client
import ipaddress
import os
import signal
import sys
import threading
import time
from typing import Iterator, NamedTuple, Optional

from kube_watch import KubeApi, KubeObject, Mirror, Objects, log

CLASS = "lab.internal/load-balancer"
RETRY = 1.0  # seconds after a write that failed
REPEAT = 1800.0  # seconds after which an Event is written again; the API server forgets it after an hour
Key = tuple[str, str]


class Pool(NamedTuple):
    """What there is to give."""

    free: list[ipaddress.IPv4Network]
    on_request: list[ipaddress.IPv4Network]

    def holds(self, address: str) -> bool:
        """Whether an address is one of these at all."""
        return any(ipaddress.ip_address(address) in network for network in [*self.free, *self.on_request])

    def __str__(self) -> str:
        return ", ".join([*map(str, self.free), *(f"{network} on request" for network in self.on_request)])


class Decision(NamedTuple):
    """What a Service must get: its addresses, or none and why."""

    addresses: list[str]
    why: str = ""


def addresses_of(service: KubeObject) -> list[str]:
    """What the status says; a host name stands for an address that is not ours."""
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [entry.get("ip") or entry.get("hostname", "") for entry in ingress]


def wants_address(service: KubeObject) -> bool:
    """Whether it is for this program to give the Service an address."""
    spec = service["spec"]
    return (spec.get("type") == "LoadBalancer" and not spec.get("externalIPs")
            and spec.get("loadBalancerClass", CLASS) == CLASS)


def decide(services: Objects, pool: Pool) -> dict[Key, Decision]:
    """For every Service of which something is to be changed or said."""
    decisions: dict[Key, Decision] = {}
    taken: dict[str, Key] = {}
    waiting: list[Key] = []
    oldest = sorted(services, key=lambda key: (services[key]["metadata"].get("creationTimestamp", ""), key))
    for key in oldest:
        service, has = services[key], addresses_of(services[key])
        if not all(is_ipv4(address) and pool.holds(address) for address in has):
            continue  # somebody else's
        if wants_address(service):
            asked = service["spec"].get("loadBalancerIP") or ""
            is_right = len(has) == 1 and has[0] not in taken and (
                has[0] == asked if asked else any(ipaddress.ip_address(has[0]) in network for network in pool.free))
            if is_right:
                taken[has[0]] = key
            else:
                waiting.append(key)
        elif has and service["spec"].get("type") != "LoadBalancer":
            decisions[key] = Decision([])
    for key in waiting:
        asked = services[key]["spec"].get("loadBalancerIP") or ""
        decision = asked_for(asked, pool, taken) if asked else first_free(pool, taken)
        decisions[key] = decision
        taken.update((address, key) for address in decision.addresses)
    return decisions


def is_ipv4(text: str) -> bool:
    """Whether it is an IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def asked_for(address: str, pool: Pool, taken: dict[str, Key]) -> Decision:
    """What spec.loadBalancerIP gets."""
    if not is_ipv4(address) or not pool.holds(address):
        return Decision([], f"spec.loadBalancerIP {address} is no address of the pool: {pool}")
    if address in taken:
        return Decision([], f"spec.loadBalancerIP {address} is taken by {'/'.join(taken[address])}")
    return Decision([address])


def first_free(pool: Pool, taken: dict[str, Key]) -> Decision:
    """The first address of the pool that nobody has."""
    everything = [str(address) for network in pool.free for address in network]
    free = next((address for address in everything if address not in taken), None)
    return Decision([free]) if free else Decision([], f"all {len(everything)} addresses of the pool are taken: {pool}")


class Giver:
    """Carries out what decide() says, again and again."""

    def __init__(self, api: KubeApi, pool: Pool) -> None:
        self.api, self.pool = api, pool
        self.news = threading.Event()
        self.services = Mirror(api, "/api/v1/services", self.news.set)
        self.unseen: dict[Key, str] = {}  # resourceVersions that this program has replaced
        self.told: dict[tuple[str, str], float] = {}  # Events by the Service's uid and text, with when
        self.complaint = ""

    def run(self) -> None:
        """Never returns."""
        self.services.start()
        wait: Optional[float] = None
        while True:
            self.news.wait(wait)
            self.news.clear()
            try:
                wait = self.step()
            except (OSError, http.client.HTTPException) as error:
                self.complain(f"{error}; trying again")
                wait = RETRY

    def complain(self, text: str) -> None:
        """The same news every second is no news."""
        if text and text != self.complaint:
            log(text)
        self.complaint = text

    def step(self) -> Optional[float]:
        """One decision; returns the seconds until the next one is due without news."""
        if not self.services.synced:
            return None
        services = self.services.snapshot()
        self.unseen = {key: version for key, version in self.unseen.items()
                       if key in services and services[key]["metadata"]["resourceVersion"] == version}
        if self.unseen:
            return None
        decisions = decide(services, self.pool)
        if decisions and self.has_metallb():
            self.complain("MetalLB is installed: it gives the addresses, and this program none")
            return REPEAT
        for key, decision in decisions.items():
            service, had = services[key], addresses_of(services[key])
            if had != decision.addresses:
                self.write_status(key, service, decision.addresses)
                log(f"{'/'.join(key)}: {', '.join(decision.addresses) or 'nothing'}"
                    + (f", and no more {', '.join(had)}" if had else ""))
            if decision.addresses:
                self.tell(service, "Normal", "IPAllocated", f"Assigned IP {', '.join(decision.addresses)}")
            elif decision.why:
                self.tell(service, "Warning", "AllocationFailed", decision.why)
        self.complain("")
        return REPEAT if any(decision.why for decision in decisions.values()) else None

    def has_metallb(self) -> bool:
        """Whether somebody installed it meanwhile."""
        return any(group["name"] == "metallb.io" for group in self.api.send("GET", "/apis")["groups"])

    def write_status(self, key: Key, service: KubeObject, addresses: list[str]) -> None:
        """Fails where the Service has changed since it was read."""
        version = service["metadata"]["resourceVersion"]
        namespace, name = key
        ingress = [{"ip": address} for address in addresses] or None
        self.api.send("PATCH", f"/api/v1/namespaces/{namespace}/services/{name}/status", {
            "metadata": {"resourceVersion": version}, "status": {"loadBalancer": {"ingress": ingress}}})
        self.unseen[key] = version

    def tell(self, service: KubeObject, kind: str, reason: str, message: str) -> None:
        """An Event of the Service, for kubectl describe; the same one not before REPEAT is over."""
        metadata, now = service["metadata"], time.monotonic()
        self.told = {event: when for event, when in self.told.items() if now - when < REPEAT}
        if (metadata["uid"], message) in self.told and kind == "Warning":
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.api.send("POST", f"/api/v1/namespaces/{metadata['namespace']}/events", {
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {"apiVersion": "v1", "kind": "Service", "name": metadata["name"],
                               "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "type": kind, "reason": reason, "message": message, "count": 1,
            "firstTimestamp": stamp, "lastTimestamp": stamp, "source": {"component": "lab-load-balancer"}})
        self.told[(metadata["uid"], message)] = now
        if kind == "Warning":
            log(f"{metadata['namespace']}/{metadata['name']}: {message}")


def networks(text: str) -> Iterator[ipaddress.IPv4Network]:
    """Prefixes with commas."""
    for part in text.split(","):
        if part.strip():
            yield ipaddress.IPv4Network(part.strip())


def terminate(number: int, _frame: Optional[object]) -> None:
    """PID 1 needs handlers."""
    log(f"stopped by {signal.Signals(number).name}")
    sys.exit(0)


def main() -> None:
    """Runs until a signal comes."""
    env = os.environ.get
    host, port = env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT", "443")
    try:
        pool = Pool(list(networks(env("LB_POOL", ""))), list(networks(env("LB_ON_REQUEST", ""))))
    except ValueError as error:
        sys.exit(f"load_balancer.py: LB_POOL or LB_ON_REQUEST: {error}")
    if not host or not pool.free:
        sys.exit("load_balancer.py: LB_POOL and KUBERNETES_SERVICE_HOST must be set")
    account = env("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, terminate)
    log(f"addresses: {pool}")
    api = KubeApi(f"{env('KUBERNETES_SCHEME', 'https')}://{host}:{port}", f"{account}/ca.crt", f"{account}/token")
    Giver(api, pool).run()


if __name__ == "__main__":
    main()
