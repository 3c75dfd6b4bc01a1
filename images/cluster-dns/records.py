"""From Services, Endpoints, Pods and Nodes to dnsmasq's files: pure functions, no I/O.

The records are those of the Kubernetes DNS specification 1.1.0
(https://github.com/kubernetes/dns/blob/master/docs/specification.md), and what CoreDNS has beyond it:

    <service>.<ns>.svc.<zone>                 A      the cluster addresses; headless: every ready endpoint
                                              CNAME  of an ExternalName Service: its target
                                              SRV    every port; headless: of every ready endpoint
    <endpoint>.<service>.<ns>.svc.<zone>      A      that ready endpoint (hostname, or its address with dashes)
    _<port>._<protocol>.<service>.<ns>.svc... SRV    the ports of that name
    <address with dashes>.<ns>.pod.<zone>     A      that pod, as CoreDNS' "pods verified"
    <node>                                    A      the node's own address, as in k3s
    <address in reverse>.in-addr.arpa         PTR    the first name of: node, cluster address, endpoint, pod
    dns-version.<zone>                        TXT    the version of the specification

Anything else in the zone does not exist. Endpoints (core/v1) are read, not EndpointSlices: they are in every version
of Kubernetes, and they already hold what counts: `addresses` are the ready ones (all of them where a Service says
publishNotReadyAddresses), `hostname` is set only where a pod's subdomain is the headless Service.
"""
import hashlib
import ipaddress
from typing import Any, Iterable, Iterator, NamedTuple

from kube_watch import KubeObject, Objects

TTL = 5  # seconds, as CoreDNS
WEIGHT = 100  # that the SRV records of a name share, as in CoreDNS
SPECIFICATION = "1.1.0"


class Records(NamedTuple):
    """Every record of the zone, without duplicates."""

    hosts: list[tuple[str, str]]  # address, name: A or AAAA; the first name of an address is also its PTR
    services: list[tuple[str, str, int, int]]  # SRV: owner, target, port, weight
    aliases: list[tuple[str, str]]  # CNAME: owner, target


def build_records(services: Objects, endpoints: Objects, pods: Objects, nodes: Objects, zone: str) -> Records:
    """The records of all objects; Endpoints without a Service of their name give none."""
    own: set[tuple[str, str]] = set()  # names that a reverse lookup should find
    other: set[tuple[str, str]] = set()
    headless: set[tuple[str, str]] = set()
    srv: dict[str, list[tuple[str, int]]] = {}  # targets and ports by owner
    aliases: dict[str, str] = {}
    for (namespace, name), service in services.items():
        spec = service["spec"]
        full = f"{name}.{namespace}.svc.{zone}"
        if spec.get("type") == "ExternalName":
            aliases[full] = spec["externalName"].rstrip(".").lower()
            continue
        if not spec.get("clusterIP"):
            continue
        is_headless = spec["clusterIP"] == "None"
        if not is_headless:
            own.update((address, full) for address in spec.get("clusterIPs") or [spec["clusterIP"]])
            _add_ports(srv, full, full, spec.get("ports"))
        for host, address, ports in _endpoints(endpoints.get((namespace, name), {})):
            (own if is_headless else other).add((address, f"{host}.{full}"))
            if is_headless:
                headless.add((address, full))
                _add_ports(srv, full, f"{host}.{full}", ports)
    named = [(address["address"], name) for (_, name), node in nodes.items()
             for address in node.get("status", {}).get("addresses") or [] if address["type"] == "InternalIP"]
    return Records(
        [host for group in (named, own, other, headless, _pods(pods, zone)) for host in _by_address(group)],
        sorted({(owner, target, port, max(1, WEIGHT // len(targets)))
                for owner, targets in srv.items() for target, port in targets}),
        sorted((owner, target) for owner, target in aliases.items() if not _leads_to_itself(owner, aliases)))


def _pods(pods: Objects, zone: str) -> Iterator[tuple[str, str]]:
    for (namespace, _), pod in pods.items():
        status = pod.get("status", {})
        if status.get("podIP") and status.get("phase") not in ("Succeeded", "Failed"):
            yield status["podIP"], f"{_dashed(status['podIP'])}.{namespace}.pod.{zone}"


def _leads_to_itself(owner: str, aliases: dict[str, str]) -> bool:
    """Nobody could follow these, and dnsmasq would not start."""
    seen: set[str] = set()
    while owner in aliases and owner not in seen:
        seen.add(owner)
        owner = aliases[owner]
    return owner in seen


def _add_ports(srv: dict[str, list[tuple[str, int]]], full: str, target: str, ports: Any) -> None:
    for port in ports or []:
        srv.setdefault(full, []).append((target, port["port"]))
        if port.get("name"):
            owner = f"_{port['name']}._{port.get('protocol', 'TCP')}.{full}".lower()
            srv.setdefault(owner, []).append((target, port["port"]))


def _endpoints(item: KubeObject) -> Iterator[tuple[str, str, Any]]:
    """Label, address and ports of each ready endpoint."""
    for subset in item.get("subsets") or []:
        for address in subset.get("addresses") or []:
            yield address.get("hostname") or _dashed(address["ip"]), address["ip"], subset.get("ports")


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _by_address(hosts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(hosts, key=lambda host: (ipaddress.ip_address(host[0]).packed, host[1]))


def render_hosts(records: Records) -> str:
    """dnsmasq's addn-hosts file, hosts(5). The order counts: a PTR answer is the first name of its address."""
    return "".join(f"{address} {name}\n" for address, name in records.hosts)


def render_config(records: Records, zone: str, listen: list[str], port: int, hosts_file: str) -> str:
    """dnsmasq.conf: what a running dnsmasq cannot take over without a restart, dnsmasq(8)."""
    lines = [
        "keep-in-foreground",
        "log-facility=-",  # standard error
        "user=root",  # a container has no other, and the hosts file is read again later
        "group=root",
        "pid-file=",
        "bind-interfaces",
        f"port={port}",
        *(f"listen-address={address}" for address in listen),
        "no-resolv",  # no upstream: names outside the zone are refused at once
        "no-hosts",
        "no-negcache",
        f"addn-hosts={hosts_file}",
        f"local=/{zone}/",  # a name of the zone that is not listed does not exist
        "bogus-priv",  # nor does a private address that is not
        f"local-ttl={TTL}",
        f"txt-record=dns-version.{zone},{SPECIFICATION}",
        *(f"srv-host={owner},{target},{port},0,{weight}" for owner, target, port, weight in records.services),
        *(f"cname={owner},{target}" for owner, target in records.aliases),  # nobody asks for an outside target here
    ]
    return "\n".join(lines) + "\n"


def marker(hosts: str) -> str:
    """A name that resolves only where exactly this hosts file is being served (.invalid is reserved, RFC 2606)."""
    return f"hosts-{hashlib.sha256(hosts.encode()).hexdigest()[:16]}.cluster-dns.invalid"
