"""images/cluster-dns/records.py against the Kubernetes DNS specification."""
import unittest
from typing import Any

from records import Records, build_records, marker, render_config, render_hosts

ZONE = "cluster.local"


def service(name: str, namespace: str = "echo", **spec: Any) -> tuple[tuple[str, str], Any]:
    return (namespace, name), {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


def endpoints(name: str, *subsets: Any, namespace: str = "echo") -> tuple[tuple[str, str], Any]:
    return (namespace, name), {"subsets": list(subsets) or None}


def built(services: list[Any], endpoint: list[Any]) -> Records:
    return build_records(dict(services), dict(endpoint), ZONE)


class Hosts(unittest.TestCase):
    def test_a_cluster_ip_service_has_its_address(self) -> None:
        records = built([service("web", clusterIP="10.96.0.7")],
                        [endpoints("web", {"addresses": [{"ip": "10.0.0.1"}]})])
        self.assertEqual(records, Records([("10.96.0.7", "web.echo.svc.cluster.local")], []))

    def test_every_family_of_a_dual_stack_service(self) -> None:
        records = built([service("web", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7", "fd00::7"])], [])
        self.assertEqual([address for address, _ in records.hosts], ["10.96.0.7", "fd00::7"])

    def test_headless_has_every_ready_endpoint_and_none_that_is_not(self) -> None:
        records = built([service("headless", clusterIP="None")], [endpoints(
            "headless", {"addresses": [{"ip": "10.255.0.9", "hostname": "server2"}, {"ip": "10.255.0.10"}],
                         "notReadyAddresses": [{"ip": "10.255.0.11", "hostname": "server3"}]})])
        # The names that a reverse lookup should find come first; addresses are sorted as numbers.
        self.assertEqual(render_hosts(records), (
            "10.255.0.9 server2.headless.echo.svc.cluster.local\n"
            "10.255.0.10 10-255-0-10.headless.echo.svc.cluster.local\n"
            "10.255.0.9 headless.echo.svc.cluster.local\n"
            "10.255.0.10 headless.echo.svc.cluster.local\n"))

    def test_nothing_for_what_has_no_address(self) -> None:
        self.assertEqual(built([
            service("external", type="ExternalName", externalName="example.com"),
            service("pending"),
            service("empty", clusterIP="None"),
            service("no-endpoints", clusterIP="None"),
        ], [endpoints("empty"), endpoints("orphan", {"addresses": [{"ip": "10.0.0.1"}]})]), Records([], []))

    def test_namespaces_are_apart(self) -> None:
        records = built([service("h", "a", clusterIP="None"), service("h", "b", clusterIP="None")],
                        [endpoints("h", {"addresses": [{"ip": "10.0.0.1", "hostname": "x"}]}, namespace="a")])
        self.assertEqual([name for _, name in records.hosts], ["x.h.a.svc.cluster.local", "h.a.svc.cluster.local"])


class Srv(unittest.TestCase):
    def test_named_ports_of_a_cluster_ip_service_lead_to_the_service(self) -> None:
        records = built([service("web", clusterIP="10.96.0.7", ports=[
            {"name": "http", "port": 80, "targetPort": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"},
            {"port": 9},
        ])], [])
        self.assertEqual(records.services, [
            ("_dns._udp.web.echo.svc.cluster.local", "web.echo.svc.cluster.local", 53),
            ("_http._tcp.web.echo.svc.cluster.local", "web.echo.svc.cluster.local", 80)])

    def test_named_ports_of_a_headless_service_lead_to_each_endpoint_and_its_own_port(self) -> None:
        records = built([service("h", clusterIP="None")], [endpoints(
            "h", {"addresses": [{"ip": "10.0.0.1", "hostname": "x"}], "ports": [{"name": "echo", "port": 1234}]},
            {"addresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "echo", "port": 4321}]})])
        self.assertEqual(records.services, [
            ("_echo._tcp.h.echo.svc.cluster.local", "10-0-0-2.h.echo.svc.cluster.local", 4321),
            ("_echo._tcp.h.echo.svc.cluster.local", "x.h.echo.svc.cluster.local", 1234)])


class Config(unittest.TestCase):
    def test_depends_on_srv_records_only(self) -> None:
        def config(*arguments: Any) -> str:
            return render_config(Records(*arguments), ZONE, ["192.168.13.30", "127.0.0.1"], 53, "/run/hosts")
        plain = config([], [])
        self.assertEqual(config([("10.0.0.1", "a")], []), plain)
        self.assertEqual(config([], [("_a._tcp.b", "b", 1)]), plain + "srv-host=_a._tcp.b,b,1,0,100\n")
        for line in ("listen-address=192.168.13.30", "listen-address=127.0.0.1", "local=/cluster.local/", "no-resolv",
                     "local-ttl=5", "addn-hosts=/run/hosts"):
            self.assertIn(line + "\n", plain)

    def test_a_marker_belongs_to_one_content(self) -> None:
        self.assertNotEqual(marker("a"), marker("b"))
        self.assertTrue(marker("a").endswith(".invalid"))
