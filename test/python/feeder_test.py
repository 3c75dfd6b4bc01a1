"""images/cluster-dns/feeder.py end to end: a stand-in API server (support.FakeApi), the real dnsmasq, real queries."""
import http.client
import os
import re
import shutil
import socket
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

from resolver import DnsFailure, Resolver
from scheduler import Scheduler
from support import FakeApi, Program, eventually, free_port

SERVICES, ENDPOINTS, PODS, NODES = (f"/api/v1/{kind}" for kind in ("services", "endpoints", "pods", "nodes"))
KUBERNETES = {"spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}}
ADDRESSES = "127.0.0.1,127.0.0.2"


def first_address(name: str, port: int) -> str:
    """The first A record of an answer, in the server's own order."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect(("127.0.0.1", port))
        sock.send(bytes.fromhex("000101000001000000000000") + question)
        return socket.inet_ntoa(sock.recv(512)[12 + len(question) + 12:][:4])  # after a pointer, type, class, TTL, length


class Feeder(unittest.TestCase):
    def setUp(self) -> None:
        if not shutil.which("dnsmasq"):
            self.skipTest("dnsmasq is not installed")
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "token").write_text("secret\n")
        self.fake = self.enterContext(FakeApi())
        self.fake.put(SERVICES, "default", "kubernetes", **KUBERNETES)
        self.fake.put(SERVICES, "echo", "headless", spec={"clusterIP": "None"})
        self.fake.put(SERVICES, "echo", "outside", spec={"type": "ExternalName", "externalName": "www.example.com"})
        self.fake.put(SERVICES, "echo", "loop", spec={"type": "ExternalName",
                                                      "externalName": "loop.echo.svc.cluster.local"})
        self.fake.put(PODS, "echo", "server1", status={"podIP": "10.255.0.3", "phase": "Running"})
        self.fake.put(NODES, "", "worker1", status={"addresses": [{"type": "InternalIP", "address": "192.168.13.35"}]})
        self.endpoints("10.255.0.3")
        self.port, self.ready_port = free_port(), free_port()
        self.env = {"DNS_LISTEN": ADDRESSES, "DNS_PORT": str(self.port), "READY_PORT": str(self.ready_port),
                    "RUN_DIR": str(folder / "run"), "SERVICE_ACCOUNT": str(folder), "KUBERNETES_SCHEME": "http",
                    "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.fake.port)}
        self.resolver = Resolver("/nonexistent", "/nonexistent")
        self.resolver.port = self.port

    def endpoints(self, *addresses: str, ports: Any = ()) -> None:
        """The headless Service's ready endpoints, server1, server2 ..."""
        listed = [{"ip": address, "hostname": f"server{i}"} for i, address in enumerate(addresses, 1)]
        self.fake.put(ENDPOINTS, "echo", "headless", subsets=[{"addresses": listed, "ports": list(ports)}])

    def start(self, until: str = "served after") -> Program:
        program = Program("images/cluster-dns/feeder.py", env=self.env)
        self.addCleanup(program.__exit__)
        if until:
            program.line(until)
        return program

    def ask(self, name: str, kind: str = "A", server: str = "127.0.0.1") -> Any:
        """The sorted answers, or the outcome and response code."""
        results: list[Any] = []
        task = self.resolver.lookup(name, kind, 1.0, server)
        Scheduler(1, results.append, lambda _, error: results.append(error)).run([(name, task)])
        if isinstance(results[0], DnsFailure):
            return results[0].outcome, results[0].rcode
        return results[0].data

    def get(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.ready_port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def test_answers_what_the_specification_says(self) -> None:
        self.start()
        headless, kubernetes = "headless.echo.svc.cluster.local", "kubernetes.default.svc.cluster.local"
        for server in ADDRESSES.split(","):
            for name, kind, expected in (
                (kubernetes, "A", ["10.96.0.1"]),
                (headless, "A", ["10.255.0.3"]),
                (f"server1.{headless}", "A", ["10.255.0.3"]),
                (f"_https._tcp.{kubernetes}", "SRV", [f"0 100 443 {kubernetes}"]),
                (kubernetes, "SRV", [f"0 100 443 {kubernetes}"]),
                ("outside.echo.svc.cluster.local", "CNAME", ["www.example.com"]),
                ("10-255-0-3.echo.pod.cluster.local", "A", ["10.255.0.3"]),
                ("worker1", "A", ["192.168.13.35"]),
                ("192.168.13.35", "PTR", ["worker1"]),
                ("10.255.0.3", "PTR", [f"server1.{headless}"]),
                ("10.96.0.1", "PTR", [kubernetes]),
                (f"server2.{headless}", "A", ("dns-nxdomain", "NXDOMAIN")),
                ("nothing.cluster.local", "A", ("dns-nxdomain", "NXDOMAIN")),
                ("10.96.0.99", "PTR", ("dns-nxdomain", "NXDOMAIN")),
                ("example.com", "A", ("dns-error", "REFUSED")),
            ):
                with self.subTest(f"{kind} {name} @{server}"):
                    self.assertEqual(self.ask(name, kind, server), expected)

    def test_a_change_is_answered_soon_and_costs_no_restart(self) -> None:
        program = self.start()
        for addresses in (("10.255.0.3", "10.255.0.4"), (), ("10.255.0.5",)):
            started = time.monotonic()
            self.endpoints(*addresses)
            name = "headless.echo.svc.cluster.local"
            eventually(lambda: self.ask(name) == (list(addresses) or ("dns-nxdomain", "NXDOMAIN")), 2, f"{addresses}")
            self.assertLess(time.monotonic() - started, 2)
            program.line("dnsmasq reload")
        self.assertFalse([line for line in program.lines if "restart" in line])

    def test_changed_srv_records_cost_a_quick_restart(self) -> None:
        program = self.start()
        self.endpoints("10.255.0.3", ports=[{"name": "echo", "port": 1234}])
        took = re.search(r"served after (\d+) ms", program.line("dnsmasq restart"))
        assert took
        self.assertLess(int(took[1]), 1000)
        self.assertEqual(self.ask("_echo._tcp.headless.echo.svc.cluster.local", "SRV"),
                         ["0 100 1234 server1.headless.echo.svc.cluster.local"])

    def test_a_change_of_something_else_changes_nothing(self) -> None:
        program = self.start()
        self.fake.put(SERVICES, "default", "kubernetes", **KUBERNETES)
        self.endpoints("10.255.0.4")
        program.line("dnsmasq reload")
        self.assertEqual(len([line for line in program.lines if "served after" in line]), 2)

    def test_the_addresses_of_a_name_take_turns_to_be_the_first(self) -> None:
        self.endpoints("10.255.0.3", "10.255.0.4", "10.255.0.5")
        self.start()
        name = "headless.echo.svc.cluster.local"
        self.assertEqual({first_address(name, self.port) for _ in range(9)}, set(self.ask(name)))

    def test_many_endpoints_are_answered_over_tcp(self) -> None:
        many = sorted(f"10.255.{high}.{low}" for high in range(3) for low in range(50))
        self.endpoints(*many)
        self.start()
        self.assertEqual(self.ask("headless.echo.svc.cluster.local"), many)

    def test_is_ready_only_after_the_first_complete_list(self) -> None:
        port = self.fake.port
        self.fake.stop()
        program = self.start("trying again")
        self.assertEqual((self.get("/ready"), self.get("/healthz"), self.get("/x")), (503, 200, 404))
        self.assertEqual(self.ask("kubernetes.default.svc.cluster.local")[0], "dns-error")
        back = self.enterContext(FakeApi(port))
        back.objects = self.fake.objects
        program.line("served after")
        eventually(lambda: self.get("/ready") == 200, 2, "ready")

    def test_services_alone_are_no_complete_list(self) -> None:
        self.fake.held.add(ENDPOINTS)
        program = self.start(until="")
        eventually(lambda: any("watch=1" in path for path, *_ in self.fake.requests), 5, "the watch of Services")
        time.sleep(0.3)  # long enough to serve them, which it must not
        self.assertEqual(self.get("/ready"), 503)
        self.fake.release()
        self.assertIn(" 5 addresses, ", program.line("served after"))

    def test_keeps_answering_while_the_api_is_away(self) -> None:
        program = self.start()
        self.fake.stop()
        program.line("trying again")
        self.assertEqual(self.ask("kubernetes.default.svc.cluster.local"), ["10.96.0.1"])
        self.assertEqual(self.get("/ready"), 200)

    def test_ends_with_code_1_when_dnsmasq_cannot_start_or_ends(self) -> None:
        self.env["DNS_LISTEN"] = "192.0.2.1"
        program = self.start(until="")
        self.assertEqual(program.process.wait(10), 1)
        self.assertIn("feeder.py: dnsmasq ended with code 2", program.stderr())
        self.assertIn("192.0.2.1", program.stderr())  # dnsmasq's own words

        self.env |= {"DNS_LISTEN": ADDRESSES, "DNSMASQ": "/nonexistent"}
        program = self.start(until="")
        self.assertEqual(program.process.wait(10), 1)

        self.env["DNSMASQ"] = "dnsmasq"
        program = self.start()
        children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
        self.assertEqual(len(children), 1)
        os.kill(int(children[0]), 9)
        self.assertEqual(program.process.wait(10), 1)
        self.assertIn("dnsmasq ended with code -9", program.stderr())

    def test_sigterm_ends_it_and_dnsmasq(self) -> None:
        program = self.start()
        self.assertEqual(program.stop(), 0, program.stderr())
        self.assertEqual(self.ask("kubernetes.default.svc.cluster.local")[0], "dns-error")

    def test_without_its_environment_it_says_what_is_missing(self) -> None:
        del self.env["DNS_LISTEN"]
        program = self.start(until="")
        self.assertEqual(program.process.wait(5), 1)
        self.assertIn("DNS_LISTEN", program.stderr())
