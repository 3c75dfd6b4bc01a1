"""From Services and Endpoints to dnsmasq's files: pure functions, no I/O.

The records are those of the Kubernetes DNS specification 1.1.0
(https://github.com/kubernetes/dns/blob/master/docs/specification.md):

    <service>.<ns>.svc.<zone>                 A    the cluster addresses; headless: every ready endpoint
    <hostname>.<service>.<ns>.svc.<zone>      A    headless: that endpoint (hostname, or its address with dashes)
    _<port>._<protocol>.<service>.<ns>.svc... SRV  for named ports; headless: one per endpoint
    <address in reverse>.in-addr.arpa         PTR  cluster addresses and headless endpoints
    dns-version.<zone>                        TXT  the version of the specification

Anything else in the zone does not exist. Endpoints (core/v1) are read, not EndpointSlices: they are in every version
of Kubernetes, and they already hold what counts: `addresses` are the ready ones (all of them where a Service says
publishNotReadyAddresses), `hostname` is set only where a pod's subdomain is the headless Service. ExternalName
Services are left out, for their targets are outside the zone and nobody here could resolve them.
"""
import hashlib
import ipaddress
from typing import Any, Iterable, Iterator, NamedTuple

from kube_watch import KubeObject, Objects

TTL = 5  # seconds, as CoreDNS
WEIGHT = 100  # of SRV records, as CoreDNS when there is one target
SPECIFICATION = "1.1.0"


class Records(NamedTuple):
    """Every record of the zone; each list sorted, without duplicates."""

    hosts: list[tuple[str, str]]  # address, name: A or AAAA; the first name of an address is also its PTR
    services: list[tuple[str, str, int]]  # SRV: owner, target, port



def build_records(services: Objects, endpoints: Objects, zone: str) -> Records:
    """The records of all Services; Endpoints without a headless Service of their name give none."""
    own: set[tuple[str, str]] = set()  # names that a reverse lookup should find
    other: set[tuple[str, str]] = set()
    srv: set[tuple[str, str, int]] = set()
    for (namespace, name), service in services.items():
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            continue
        full = f"{name}.{namespace}.svc.{zone}"
        if spec.get("clusterIP") == "None":
            for host, address, ports in _endpoints(endpoints.get((namespace, name), {})):
                own.add((address, f"{host}.{full}"))
                other.add((address, full))
                srv.update((f"_{port}._{protocol}.{full}", f"{host}.{full}", number)
                           for port, protocol, number in ports)
        elif spec.get("clusterIP"):
            own.update((address, full) for address in spec.get("clusterIPs") or [spec["clusterIP"]])
            srv.update((f"_{port}._{protocol}.{full}", full, number)
                       for port, protocol, number in _named_ports(spec.get("ports")))
    return Records(_by_address(own) + _by_address(other), sorted(srv))


def _endpoints(item: KubeObject) -> Iterator[tuple[str, str, list[tuple[str, str, int]]]]:
    """Label, address and named ports of each ready endpoint."""
    for subset in item.get("subsets") or []:
        ports = list(_named_ports(subset.get("ports")))
        for address in subset.get("addresses") or []:
            dashed = address["ip"].replace(".", "-").replace(":", "-")
            yield address.get("hostname") or dashed, address["ip"], ports


def _named_ports(ports: Any) -> Iterator[tuple[str, str, int]]:
    for port in ports or []:
        if port.get("name"):
            yield port["name"].lower(), port.get("protocol", "TCP").lower(), port["port"]


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
        *(f"srv-host={owner},{target},{number},0,{WEIGHT}" for owner, target, number in records.services),
    ]
    return "\n".join(lines) + "\n"


def marker(hosts: str) -> str:
    """A name that resolves only where exactly this hosts file is being served (.invalid is reserved, RFC 2606)."""
    return f"hosts-{hashlib.sha256(hosts.encode()).hexdigest()[:16]}.cluster-dns.invalid"
