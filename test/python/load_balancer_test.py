"""images/cluster-dns/load_balancer.py against a stand-in API server (support.FakeApi)."""
import ipaddress
import tempfile
import unittest
from pathlib import Path
from typing import Any

import load_balancer
from load_balancer import Pool
from support import FakeApi, Program, eventually

PATH = "/api/v1/services"
POOL = Pool([ipaddress.IPv4Network("203.0.113.16/31")], [ipaddress.IPv4Network("2.2.2.2/32")])


def service(*has: str, created: int = 0, **spec: Any) -> dict[str, Any]:
    """A LoadBalancer Service with these addresses in its status."""
    return {"metadata": {"creationTimestamp": f"2026-01-01T00:00:0{created}Z", "uid": "u", "resourceVersion": "1"},
            "spec": {"type": "LoadBalancer", **spec},
            "status": {"loadBalancer": {"ingress": [{"ip": address} for address in has]} if has else {}}}


def decide(**services: dict[str, Any]) -> dict[str, Any]:
    """Addresses, or the reason why there is none, by name."""
    decisions = load_balancer.decide({("n", name): item for name, item in services.items()}, POOL)
    return {name: decision.why or decision.addresses for (_, name), decision in decisions.items()}


class Decisions(unittest.TestCase):
    def test_the_oldest_comes_first_and_an_exhausted_pool_is_said(self) -> None:
        self.assertEqual(decide(a=service(created=3), b=service(created=1), c=service(created=2)), {
            "b": ["203.0.113.16"], "c": ["203.0.113.17"],
            "a": "all 2 addresses of the pool are taken: 203.0.113.16/31, 2.2.2.2/32 on request"})

    def test_what_one_has_it_keeps_also_against_an_older_one(self) -> None:
        self.assertEqual(decide(old=service(), young=service("203.0.113.16", created=5)), {"old": ["203.0.113.17"]})

    def test_an_address_that_two_have_stays_with_the_older(self) -> None:
        self.assertEqual(decide(old=service("203.0.113.17"), young=service("203.0.113.17", created=5)),
                         {"young": ["203.0.113.16"]})

    def test_an_address_that_is_asked_for(self) -> None:
        self.assertEqual(decide(a=service(loadBalancerIP="2.2.2.2"), b=service(loadBalancerIP="203.0.113.17", created=1),
                                c=service(created=2)),
                         {"a": ["2.2.2.2"], "b": ["203.0.113.17"], "c": ["203.0.113.16"]})
        self.assertEqual(decide(a=service("2.2.2.2", loadBalancerIP="2.2.2.2"),
                                b=service(loadBalancerIP="2.2.2.2", created=1)),
                         {"b": "spec.loadBalancerIP 2.2.2.2 is taken by n/a"})
        for wrong in ("203.0.113.18", "nonsense", "::1"):
            self.assertEqual(decide(a=service(loadBalancerIP=wrong)), {
                "a": f"spec.loadBalancerIP {wrong} is no address of the pool: 203.0.113.16/31, 2.2.2.2/32 on request"})

    def test_another_address_is_asked_for_later(self) -> None:
        self.assertEqual(decide(a=service("203.0.113.16", loadBalancerIP="2.2.2.2")), {"a": ["2.2.2.2"]})
        self.assertEqual(decide(a=service("2.2.2.2")), {"a": ["203.0.113.16"]})
        self.assertEqual(decide(a=service("203.0.113.16", loadBalancerIP="9.9.9.9"))["a"][:29],
                         "spec.loadBalancerIP 9.9.9.9 i")

    def test_who_is_left_alone(self) -> None:
        foreign = {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}}
        self.assertEqual(decide(
            external=service(externalIPs=["2.2.2.2"]), other=service(loadBalancerClass="metallb.io/x"),
            somebody=service("198.51.100.1"), name={**service(), **foreign}, node={**service(), "spec": {"type": "NodePort"}},
        ), {})
        self.assertEqual(decide(own=service(loadBalancerClass="lab.internal/load-balancer")), {"own": ["203.0.113.16"]})

    def test_an_address_is_free_when_its_service_is_no_load_balancer_any_more(self) -> None:
        was = {**service("203.0.113.16"), "spec": {"type": "ClusterIP"}}
        self.assertEqual(decide(was=was, new=service()), {"was": [], "new": ["203.0.113.16"]})
        self.assertEqual(decide(was={**service("198.51.100.1"), "spec": {"type": "ClusterIP"}}), {})


class Running(unittest.TestCase):
    def setUp(self) -> None:
        self.fake = FakeApi()
        self.groups: list[dict[str, str]] = []
        self.fake.documents["/apis"] = {"groups": self.groups}
        self.addCleanup(self.fake.stop)
        self.env = {"LB_POOL": "203.0.113.16/31", "LB_ON_REQUEST": "2.2.2.2/32", "KUBERNETES_SCHEME": "http",
                    "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.fake.port),
                    "SERVICE_ACCOUNT": self.enterContext(load_account())}

    def put(self, name: str, uid: str, **spec: Any) -> None:
        self.fake.put(PATH, "n", name, metadata={"uid": uid}, spec={"type": "LoadBalancer", **spec})

    def has(self, name: str) -> Any:
        item = self.fake.objects[PATH]["n", name]
        return item.get("status", {}).get("loadBalancer", {}).get("ingress")

    def start(self) -> Program:
        return self.enterContext(Program("images/cluster-dns/load_balancer.py", env=self.env))

    def events(self) -> list[tuple[str, str, str]]:
        return [(path, event["involvedObject"]["name"], f"{event['type']} {event['reason']}: {event['message']}")
                for path, _, event in self.fake.written if path.endswith("/events")]

    def test_gives_says_and_frees(self) -> None:
        for name in ("a", "b", "c"):
            self.put(name, name)
        program = self.start()
        program.line("n/c: all 2 addresses")
        self.assertEqual([self.has(name) for name in ("a", "b", "c")],
                         [[{"ip": "203.0.113.16"}], [{"ip": "203.0.113.17"}], None])
        where = "/api/v1/namespaces/n/events"
        self.assertEqual(self.events(), [
            (where, "a", "Normal IPAllocated: Assigned IP 203.0.113.16"),
            (where, "b", "Normal IPAllocated: Assigned IP 203.0.113.17"),
            (where, "c", "Warning AllocationFailed: all 2 addresses of the pool are taken:"
                         " 203.0.113.16/31, 2.2.2.2/32 on request")])
        self.put("d", "d", externalIPs=["2.2.2.2"])  # any news: the same Event is not written again
        self.fake.delete(PATH, "n", "a")
        program.line("n/c: 203.0.113.16")
        self.assertEqual(self.has("c"), [{"ip": "203.0.113.16"}])
        eventually(lambda: len(self.events()) == 4, 5, f"{self.events()}")
        self.assertEqual(self.events()[-1][2], "Normal IPAllocated: Assigned IP 203.0.113.16")
        self.fake.put(PATH, "n", "b", metadata={"uid": "b"}, spec={"type": "NodePort"},
                      status={"loadBalancer": {"ingress": [{"ip": "203.0.113.17"}]}})
        program.line("n/b: nothing, and no more 203.0.113.17")
        self.assertEqual(self.has("b"), None)

    def test_a_restart_changes_nothing(self) -> None:
        self.put("a", "a")
        self.put("b", "b", loadBalancerIP="2.2.2.2")
        with Program("images/cluster-dns/load_balancer.py", env=self.env) as first:
            first.line("n/b: 2.2.2.2")
        version = self.fake.version
        other = self.start()
        self.put("c", "c")
        other.line("n/c: 203.0.113.17")
        self.assertEqual(self.fake.version, version + 2)

    def test_keeps_out_of_metallbs_way(self) -> None:
        self.groups.append({"name": "metallb.io"})
        self.put("a", "a")
        self.start().line("MetalLB is installed")
        self.assertIsNone(self.has("a"))

    def test_says_what_is_wrong_with_its_settings(self) -> None:
        for wrong in ({"LB_POOL": ""}, {"LB_POOL": "203.0.113.16/33"}, {"LB_ON_REQUEST": "2.2.2"}):
            program = self.enterContext(Program("images/cluster-dns/load_balancer.py", env={**self.env, **wrong}))
            self.assertEqual(program.process.wait(10), 1)
            self.assertIn(f"LB_{list(wrong)[0][3:]}", program.stderr())


def load_account() -> Any:
    """A folder with a service account's token."""
    folder = tempfile.TemporaryDirectory()
    Path(folder.name, "token").write_text("secret\n", encoding="ascii")
    return folder
