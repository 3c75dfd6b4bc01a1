"""images/cluster-dns/records.py against the Kubernetes DNS specification."""
import unittest
from typing import Any

from records import Records, build_records, marker, render_config, render_hosts

ZONE = "cluster.local"


def service(name: str, namespace: str = "echo", **spec: Any) -> tuple[tuple[str, str], Any]:
    return (namespace, name), {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


def endpoints(name: str, *subsets: Any, namespace: str = "echo") -> tuple[tuple[str, str], Any]:
    return (namespace, name), {"subsets": list(subsets) or None}


def built(services: list[Any], endpoint: list[Any], pods: Any = (), nodes: Any = ()) -> Records:
    return build_records(dict(services), dict(endpoint), dict(pods), dict(nodes), ZONE)


class Hosts(unittest.TestCase):
    def test_a_cluster_ip_service_has_its_address_and_names_its_endpoints(self) -> None:
        records = built([service("web", clusterIP="10.96.0.7")],
                        [endpoints("web", {"addresses": [{"ip": "10.0.0.1"}]})])
        self.assertEqual(records, Records([("10.96.0.7", "web.echo.svc.cluster.local"),
                                           ("10.0.0.1", "10-0-0-1.web.echo.svc.cluster.local")], [], []))

    def test_pods_that_run_have_a_name_after_all_others_of_their_address(self) -> None:
        def pod(name: str, address: str, phase: str = "Running") -> Any:
            return ("echo", name), {"status": {"podIP": address, "phase": phase}}
        records = built([service("web", clusterIP="None")],
                        [endpoints("web", {"addresses": [{"ip": "10.0.0.12", "hostname": "x"}]})],
                        [pod("x", "10.0.0.12"), pod("over", "10.0.0.13", "Succeeded"), (("echo", "new"), {"status": {}})])
        self.assertEqual([name for _, name in records.hosts], [
            "x.web.echo.svc.cluster.local", "web.echo.svc.cluster.local", "10-0-0-12.echo.pod.cluster.local"])

    def test_nodes_have_their_name_which_is_that_of_their_address(self) -> None:
        node = ("", "worker1"), {"status": {"addresses": [{"type": "InternalIP", "address": "192.168.13.35"},
                                                          {"type": "Hostname", "address": "worker1"}]}}
        records = built([service("web", clusterIP="None")],
                        [endpoints("web", {"addresses": [{"ip": "192.168.13.35"}]})], nodes=[node])
        self.assertEqual(records.hosts[0], ("192.168.13.35", "worker1"))
        self.assertEqual(len(records.hosts), 3)

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
            service("pending"),
            service("empty", clusterIP="None"),
            service("no-endpoints", clusterIP="None"),
        ], [endpoints("empty"), endpoints("orphan", {"addresses": [{"ip": "10.0.0.1"}]})]), Records([], [], []))

    def test_namespaces_are_apart(self) -> None:
        records = built([service("h", "a", clusterIP="None"), service("h", "b", clusterIP="None")],
                        [endpoints("h", {"addresses": [{"ip": "10.0.0.1", "hostname": "x"}]}, namespace="a")])
        self.assertEqual([name for _, name in records.hosts], ["x.h.a.svc.cluster.local", "h.a.svc.cluster.local"])


class Alias(unittest.TestCase):
    def external(self, name: str, target: str) -> tuple[tuple[str, str], Any]:
        return service(name, type="ExternalName", externalName=target)

    def test_an_external_name_is_another_name_for_its_target(self) -> None:
        records = built([self.external("outside", "Www.Example.com.")], [])
        self.assertEqual(records, Records([], [], [("outside.echo.svc.cluster.local", "www.example.com")]))

    def test_those_that_lead_to_themselves_are_left_out(self) -> None:
        records = built([self.external("a", "b.echo.svc.cluster.local"), self.external("b", "a.echo.svc.cluster.local"),
                         self.external("c", "b.echo.svc.cluster.local"), self.external("d", "d.other")], [])
        self.assertEqual(records.aliases, [("d.echo.svc.cluster.local", "d.other")])


class Srv(unittest.TestCase):
    def test_a_cluster_ip_service_has_all_its_ports_and_each_named_one(self) -> None:
        records = built([service("web", clusterIP="10.96.0.7", ports=[
            {"name": "http", "port": 80, "targetPort": 8080}, {"name": "DNS", "port": 53, "protocol": "UDP"},
            {"port": 9},
        ])], [])
        web = "web.echo.svc.cluster.local"
        self.assertEqual(records.services, [
            (f"_dns._udp.{web}", web, 53, 100), (f"_http._tcp.{web}", web, 80, 100),
            (web, web, 9, 33), (web, web, 53, 33), (web, web, 80, 33)])

    def test_a_headless_service_has_those_of_each_endpoint(self) -> None:
        records = built([service("h", clusterIP="None")], [endpoints(
            "h", {"addresses": [{"ip": "10.0.0.1", "hostname": "x"}], "ports": [{"name": "echo", "port": 1234}]},
            {"addresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "echo", "port": 4321}, {"port": 9}]})])
        h = "h.echo.svc.cluster.local"
        self.assertEqual(records.services, [
            (f"_echo._tcp.{h}", f"10-0-0-2.{h}", 4321, 50), (f"_echo._tcp.{h}", f"x.{h}", 1234, 50),
            (h, f"10-0-0-2.{h}", 9, 33), (h, f"10-0-0-2.{h}", 4321, 33), (h, f"x.{h}", 1234, 33)])

    def test_a_weight_is_never_0(self) -> None:
        many = [{"ip": f"10.0.{i}.{j}"} for i in range(2) for j in range(60)]
        records = built([service("h", clusterIP="None")], [endpoints("h", {"addresses": many, "ports": [{"port": 9}]})])
        self.assertEqual({weight for *_, weight in records.services}, {1})


class Config(unittest.TestCase):
    def test_depends_on_srv_and_cname_records_only(self) -> None:
        def config(*arguments: Any) -> str:
            return render_config(Records(*arguments), ZONE, ["192.168.13.30", "127.0.0.1"], 53, "/run/hosts")
        plain = config([], [], [])
        self.assertEqual(config([("10.0.0.1", "a")], [], []), plain)
        self.assertEqual(config([], [("_a._tcp.b", "b", 1, 100)], [("c", "d.e")]),
                         plain + "srv-host=_a._tcp.b,b,1,0,100\ncname=c,d.e\n")
        for line in ("listen-address=192.168.13.30", "listen-address=127.0.0.1", "local=/cluster.local/", "no-resolv",
                     "local-ttl=5", "addn-hosts=/run/hosts"):
            self.assertIn(line + "\n", plain)

    def test_a_marker_belongs_to_one_content(self) -> None:
        self.assertNotEqual(marker("a"), marker("b"))
        self.assertTrue(marker("a").endswith(".invalid"))
