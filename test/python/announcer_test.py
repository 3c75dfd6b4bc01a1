"""bird/announcer.py against a stand-in API server (support.FakeApi), stand-in kube-proxy health checks, a real BIRD."""
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any

import announcer
from support import FakeApi, Program, eventually, free_port

PATH = "/api/v1/services"
ROUTE = "route 2.2.2.2/32 blackhole;\n"
CIDR = "route 10.96.0.0/12 blackhole;\n"
BOTH = ROUTE + CIDR


def local(port: int, *addresses: str, **status: Any) -> dict[str, Any]:
    """A LoadBalancer Service with externalTrafficPolicy Local."""
    return {"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port,
                     "externalIPs": list(addresses)}, "status": status}


class HealthCheck:
    """A stand-in for kube-proxy's health check of one Service, with its status codes and its JSON."""

    def __init__(self) -> None:
        self.endpoints, self.asked, self.body = 1, 0, ""
        check = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                check.asked += 1
                self.send_response(200 if check.endpoints else 503)
                self.end_headers()
                document = {"service": {"namespace": "echo", "name": "lb"}, "localEndpoints": check.endpoints}
                self.wfile.write((check.body or json.dumps(document)).encode())

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Candidates(unittest.TestCase):
    def decide(self, service: dict[str, Any], *cidrs: str) -> tuple[set[Any], list[str]]:
        found, puzzles = announcer.candidates({("echo", "lb"): service}, list(cidrs or ["2.2.2.2/32"]))
        return {(candidate.address, candidate.health_port) for candidate in found}, puzzles

    def test_what_is_announced(self) -> None:
        cluster = {"spec": {"externalTrafficPolicy": "Cluster", "externalIPs": ["2.2.2.2", "3.3.3.3"]}}
        ingress = {"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"hostname": "x"}]}}
        for name, service, expected in (
            ("Cluster: without asking, and only inside the CIDRs", cluster, {("2.2.2.2", None)}),
            ("Local: ask", local(30000, "2.2.2.2"), {("2.2.2.2", 30000)}),
            ("from the status", local(30000, loadBalancer=ingress["loadBalancer"]), {("2.2.2.2", 30000)}),
            ("ClusterIP with externalIPs has no policy", {"spec": {"externalIPs": ["2.2.2.2"]}}, {("2.2.2.2", None)}),
            ("no address", {"spec": {"externalIPs": None}, "status": {"loadBalancer": {}}}, set()),
        ):
            with self.subTest(name):
                self.assertEqual(self.decide(service), (expected, []))

    def test_a_wider_cidr_and_no_cidr(self) -> None:
        self.assertEqual(self.decide(local(1, "2.2.2.9"), "5.0.0.0/8", "2.2.2.0/24")[0], {("2.2.2.9", 1)})
        self.assertEqual(announcer.candidates({("e", "l"): local(1, "2.2.2.2")}, []), (set(), []))

    def test_local_without_a_health_check_cannot_be_decided(self) -> None:
        self.assertEqual(self.decide(local(0, "2.2.2.2")), (set(), [
            "echo/lb is not announced: externalTrafficPolicy Local, no healthCheckNodePort"]))
        self.assertEqual(self.decide(local(0, "9.9.9.9")), (set(), []))


class Health(unittest.TestCase):
    def test_only_a_clear_yes_is_a_yes(self) -> None:
        check = HealthCheck()
        self.addCleanup(check.stop)
        self.assertTrue(announcer.has_local_endpoint(check.port))
        for body in ("not json", "[]", "{}", '{"localEndpoints": "many"}', '{"localEndpoints": 0}'):
            with self.subTest(body):
                check.body = body
                self.assertFalse(announcer.has_local_endpoint(check.port))
        check.body, check.endpoints = '{"localEndpoints": 1}', 0
        self.assertFalse(announcer.has_local_endpoint(check.port), "status 503")
        self.assertFalse(announcer.has_local_endpoint(free_port()), "nobody listens")


class Rendering(unittest.TestCase):
    def test_sorted_lines(self) -> None:
        self.assertEqual(announcer.render({"2.2.2.10", "2.2.2.9", "fd00::1", "10.96.0.0/12"}), (
            "route 2.2.2.9/32 blackhole;\nroute 2.2.2.10/32 blackhole;\nroute 10.96.0.0/12 blackhole;\n"
            "route fd00::1/128 blackhole;\n"))
        self.assertEqual(announcer.render(set()), "")


class Daemon(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.output, self.reloads = self.folder / "services.conf", self.folder / "reloads"
        self.fake = self.enterContext(FakeApi())
        self.health = HealthCheck()
        self.addCleanup(self.health.stop)
        self.config = {
            "nodeName": "k8sworker1", "apiServer": f"http://127.0.0.1:{self.fake.port}", "ca": "", "cert": "",
            "serviceCidr": "10.96.0.0/12", "externalCidrs": ["2.2.2.2/32"], "output": str(self.output),
            "reload": ["sh", "-c", f"cat {self.output} >> {self.reloads}; echo . >> {self.reloads}"]}

    def start(self) -> Program:
        (self.folder / "config.json").write_text(json.dumps(self.config))
        program = Program("bird/announcer.py", str(self.folder / "config.json"))
        self.addCleanup(program.__exit__)
        return program

    def wait_for(self, text: str, within: float = 5.0) -> float:
        return eventually(lambda: self.output.exists() and self.output.read_text() == text, within, repr(text))

    def wait_for_reloads(self, *texts: str) -> None:
        """Until BIRD's stand-in has read exactly these contents, one after the other."""
        expected = "".join(f"{text}.\n" for text in texts)
        eventually(lambda: self.reloads.exists() and self.reloads.read_text() == expected, 5, f"reloads {texts}")

    def test_follows_the_health_check(self) -> None:
        self.fake.put(PATH, "echo", "lb", **local(self.health.port, "2.2.2.2"))
        program = self.start()
        self.wait_for(BOTH)
        for _ in range(2):
            self.health.endpoints = 0
            self.wait_for(CIDR)
            self.health.endpoints = 2
            self.wait_for(BOTH)
        self.health.stop()
        self.wait_for(CIDR)
        program.line("announced: 10.96.0.0/12 2.2.2.2")
        self.assertRegex(program.line("no ready endpoint here"), rf"^\S+Z echo/lb: .*{self.health.port}")
        self.assertEqual(self.output.stat().st_mode & 0o777, 0o644)

    def test_reloads_only_on_change(self) -> None:
        self.fake.put(PATH, "echo", "lb", **local(self.health.port, "2.2.2.2"))
        self.start()
        self.wait_for(BOTH)
        self.fake.put(PATH, "echo", "other", spec={"clusterIP": "10.96.0.9"})
        asked = self.health.asked
        eventually(lambda: self.health.asked >= asked + 3, 5, "three more health checks")
        self.wait_for_reloads(CIDR, BOTH)

    def test_policy_cluster_is_announced_without_asking(self) -> None:
        program = self.start()
        self.wait_for(CIDR)
        self.fake.put(PATH, "echo", "lb", spec={"externalTrafficPolicy": "Cluster", "externalIPs": ["2.2.2.2"]})
        self.assertLess(self.wait_for(BOTH), 1.0)
        self.fake.delete(PATH, "echo", "lb")
        self.assertLess(self.wait_for(CIDR), 1.0)
        self.assertEqual(self.health.asked, 0)
        program.line("announced: 10.96.0.0/12")

    def test_a_node_that_is_taken_out_of_load_balancing_announces_nothing(self) -> None:
        label = "node.kubernetes.io/exclude-from-external-load-balancers"
        self.fake.put(PATH, "echo", "lb", **local(self.health.port, "2.2.2.2"))
        program = self.start()
        self.wait_for(BOTH)
        for name, value in (("k8sworker1", ""), ("k8sworker2", "true")):
            self.fake.put("/api/v1/nodes", "", name, metadata={"labels": {label: value}})
        asked = self.health.asked
        eventually(lambda: self.health.asked >= asked + 3, 5, "three more health checks")
        self.wait_for(BOTH, 0.1)
        self.fake.put("/api/v1/nodes", "", "k8sworker1", metadata={"labels": {label: "true"}})
        self.assertLess(self.wait_for(""), 2.0)
        program.line("announced: nothing")
        self.fake.put("/api/v1/nodes", "", "k8sworker1", metadata={})
        self.assertLess(self.wait_for(BOTH), 2.0)
        self.assertIn("/api/v1/nodes?fieldSelector=metadata.name%3Dk8sworker1",
                      [path for path, _, _ in self.fake.requests])

    def test_two_services_may_share_the_address(self) -> None:
        self.fake.put(PATH, "echo", "a", **local(free_port(), "2.2.2.2"))
        self.fake.put(PATH, "echo", "b", **local(self.health.port, "2.2.2.2"))
        self.start()
        self.wait_for(BOTH)

    def test_keeps_polling_while_the_api_is_away(self) -> None:
        self.fake.put(PATH, "echo", "lb", **local(self.health.port, "2.2.2.2"))
        program = self.start()
        self.wait_for(BOTH)
        self.fake.stop()
        program.line("trying again")
        self.health.endpoints = 0
        self.wait_for(CIDR, 1.0)
        self.health.endpoints = 1
        self.wait_for(BOTH, 1.0)

    def test_withdraws_on_sigterm(self) -> None:
        self.fake.put(PATH, "echo", "lb", **local(self.health.port, "2.2.2.2"))
        program = self.start()
        self.wait_for_reloads(CIDR, BOTH)
        self.assertEqual(program.stop(), 0)
        self.assertEqual(self.output.read_text(), CIDR)
        self.wait_for_reloads(CIDR, BOTH, CIDR)

    def test_routes_of_an_earlier_run_stay_until_the_api_answers_but_not_for_long(self) -> None:
        self.output.write_text(BOTH)
        self.fake.put(PATH, "echo", "lb", **local(self.health.port, "2.2.2.2"))
        program = self.start()
        self.wait_for_reloads(BOTH)
        program.stop()

        self.output.write_text(BOTH)
        self.fake.stop()
        self.start().line("trying again")
        self.assertEqual(self.output.read_text(), BOTH)
        self.wait_for(CIDR, announcer.START_GRACE + 1)

    def test_a_failed_reload_is_tried_again_and_told_once(self) -> None:
        flag = self.folder / "broken"
        flag.touch()
        self.config["reload"] = ["sh", "-c", f"echo x >> {self.reloads}; if test -e {flag}; then echo oops; exit 3; fi"]
        self.fake.put(PATH, "echo", "lb", **local(self.health.port, "2.2.2.2"))
        program = self.start()
        eventually(lambda: self.reloads.exists() and len(self.reloads.read_text().split()) > 3, 5, "three tries")
        flag.unlink()
        program.line("works again")
        self.assertEqual(len([line for line in program.lines if "oops (3)" in line]), 1)

    def test_idles_without_using_the_cpu(self) -> None:
        self.fake.put(PATH, "echo", "lb", **local(self.health.port, "2.2.2.2"))
        program = self.start()
        self.wait_for(BOTH)

        def ticks() -> int:
            fields = Path(f"/proc/{program.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        before, asked = ticks(), self.health.asked
        time.sleep(2)
        self.assertGreaterEqual(self.health.asked - asked, 3)
        self.assertLessEqual(ticks() - before, 6, "more than 3 % of a core")  # a tick is 10 ms

    def test_a_bad_configuration_says_what_is_wrong(self) -> None:
        for change, message in (({"reload": "birdc"}, "reload is missing or no list"),
                                ({"externalCidrs": ["2.2.2.2/33"]}, "2.2.2.2/33")):
            config = dict(self.config)
            self.config |= change
            program = self.start()
            self.assertEqual(program.process.wait(5), 1)
            self.assertIn(message, program.stderr())
            self.config = config


class Bird(unittest.TestCase):
    """What BIRD 1.6 makes of our file, and what birdc says of one that it refuses."""

    def setUp(self) -> None:
        if not shutil.which("bird") or not shutil.which("birdc"):
            self.skipTest("bird is not installed")
        version = subprocess.run(["bird", "--version"], capture_output=True, text=True, check=True)
        if " 1.6" not in version.stdout + version.stderr:
            self.skipTest("bird is not 1.6")
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.services, self.control = folder / "services.conf", folder / "bird.ctl"
        self.services.touch()
        (folder / "bird.conf").write_text(
            f'router id 10.0.0.1;\nprotocol device {{ }}\nprotocol static {{\n  include "{self.services}";\n}}\n')
        bird = subprocess.Popen(["bird", "-f", "-c", folder / "bird.conf", "-s", self.control],
                                stderr=subprocess.DEVNULL)
        self.addCleanup(bird.wait)
        self.addCleanup(bird.terminate)
        # The socket's file is there before BIRD listens on it.
        asking = ["birdc", "-s", self.control, "show", "status"]
        eventually(lambda: subprocess.run(asking, capture_output=True).returncode == 0, 10, "BIRD to answer")

    def birdc(self, *arguments: str) -> str:
        return subprocess.run(["birdc", "-s", self.control, *arguments], capture_output=True, text=True,
                              check=True).stdout

    def test_routes_come_and_go(self) -> None:
        output = announcer.Output(str(self.services), ["birdc", "-s", str(self.control), "configure"])
        output.set({"2.2.2.2", "2.2.2.3"})
        self.assertTrue(output.reloaded)
        self.assertIn("2.2.2.2/32         blackhole", self.birdc("show", "route"))
        output.set(set())
        self.assertNotIn("blackhole", self.birdc("show", "route"))

    def test_a_refused_configuration_is_noticed_though_birdc_exits_with_0(self) -> None:
        self.services.write_text("nonsense")
        said = self.birdc("configure")
        self.assertIn("syntax error", said)
        self.assertFalse(announcer.accepted("/usr/sbin/birdc", said))
        self.services.write_text(ROUTE)
        self.assertTrue(announcer.accepted("birdc", self.birdc("configure")))
        self.assertTrue(announcer.accepted("sh", ""))
