"""probe/watch.py on every machine of a small network (that of probe_netns_test.py) while probe.py makes a connection."""
import json
import shutil
import subprocess
import sys
import unittest
from typing import Any

import probe_netns_test as network
from support import ROOT, probe_one

NAMES = ("client", "router", "server")
IPTABLES = ("ip", "netns", "exec", "router", "iptables", "-w")


def setUpModule() -> None:
    network.setUpModule()


def tearDownModule() -> None:
    network.tearDownModule()


class Watcher:
    """watch.py in one namespace."""

    def __init__(self, name: str, **job: Any) -> None:
        command = ["ip", "netns", "exec", name, sys.executable, "-B", str(ROOT / "probe/watch.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin and self.process.stdout
        document = {"seconds": 2.0, "most": 100, "ports": {"tcp": [], "udp": []}, "lookups": [], "prefixes": [],
                    "rules": ["iptables-save", "-c"], "sets": ["echo", "create x hash:ip"]}
        self.process.stdin.write(json.dumps(document | job))
        self.process.stdin.close()

    def wait_until_listening(self) -> "Watcher":
        assert self.process.stdout
        assert json.loads(self.process.stdout.readline()) == {"listening": True}
        return self

    def result(self) -> dict[str, Any]:
        assert self.process.stdout
        with self.process.stdout as output:
            document = json.loads(output.read())
        assert self.process.wait() == 0
        return dict(document)


def watch(protocol: str, source_port: int, host: str = "10.2.0.2", port: int = 0,
          **job: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """One connection from the client, and what each machine saw of it."""
    number = port or network.PORTS[protocol]
    # All begin at once: one that began to watch while others still started would be at its end before the connection.
    watchers = {name: Watcher(name, ports={protocol: [number, source_port]}, **job) for name in NAMES}
    for watcher in watchers.values():
        watcher.wait_until_listening()
    probed = probe_one(network.CLIENT, protocol=protocol, host=host, port=number, sourcePort=source_port)
    return probed, {name: watcher.result() for name, watcher in watchers.items()}


def first(packets: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """The first packet with these fields."""
    return next(packet for packet in packets if fields.items() <= packet.items())


class Rule:
    """An iptables rule of the router while a test runs."""

    def __init__(self, *rule: str) -> None:
        self.rule = rule

    def __enter__(self) -> None:
        added = subprocess.run([*IPTABLES, "-t", self.rule[0], "-A", *self.rule[1:]], capture_output=True, text=True,
                               check=False)
        if added.returncode != 0:
            raise unittest.SkipTest(f"no iptables here: {added.stderr.strip()}")

    def __exit__(self, *_: Any) -> None:
        subprocess.run([*IPTABLES, "-t", self.rule[0], "-D", *self.rule[1:]], check=True)


@unittest.skipUnless(shutil.which("iptables"), "no iptables here")
class Watching(unittest.TestCase):
    def test_every_machine_sees_the_same_packet_with_the_port_that_was_chosen(self) -> None:
        for protocol, port in (("tcp", 20001), ("udp", 20002)):
            with self.subTest(protocol):
                probed, seen = watch(protocol, port)
                self.assertEqual((probed["outcome"], probed["localPort"]), ("ok", port))
                marks = set()
                ways = {"client": ["out"], "router": ["in", "out"], "server": ["in"]}
                for name, directions in ways.items():
                    flow = {"sourcePort": port, "source": "10.1.0.2", "destination": "10.2.0.2"}
                    packets = [packet for packet in seen[name]["packets"] if flow.items() <= packet.items()
                               and packet.get("flags", "S") == "S"]
                    self.assertEqual([packet["direction"] for packet in packets], directions)
                    marks |= {packet["sequence" if protocol == "tcp" else "line"] for packet in packets}
                self.assertEqual(len(marks), 1)
                self.assertIn(first(seen["router"]["packets"], direction="in")["sender"], seen["client"]["own"])
                self.assertIn(first(seen["server"]["packets"], direction="in")["sender"], seen["router"]["own"])
                if protocol == "udp":
                    self.assertEqual(marks, {probed["nonce"]})

    def test_an_answer_acknowledges_the_first_packet_or_repeats_its_line(self) -> None:
        _, seen = watch("tcp", 20003)
        syn = first(seen["client"]["packets"], flags="S")
        answer = first(seen["router"]["packets"], flags="SA", direction="in")
        self.assertEqual((answer["acknowledges"], answer["interface"]), ((syn["sequence"] + 1) % 2**32, "s"))
        probed, seen = watch("udp", 20004)
        answer = first(seen["client"]["packets"], direction="in")
        self.assertEqual((answer["line"], answer["sourcePort"]), (probed["nonce"], 5678))

    def test_masquerading_changes_the_port_but_not_the_sequence_number(self) -> None:
        with Rule("nat", "POSTROUTING", "-p", "tcp", "-o", "s", "-j", "MASQUERADE", "--random-fully"):
            probed, seen = watch("tcp", 20005)
            self.assertEqual(probed["client"], "10.2.0.1")
            syn = first(seen["client"]["packets"], flags="S")
            arrived = first(seen["server"]["packets"], flags="S")
            self.assertEqual(arrived["sequence"], syn["sequence"])
            self.assertEqual((arrived["source"], arrived["sourcePort"] == 20005), ("10.2.0.1", False))
            if shutil.which("conntrack"):
                self.assertTrue(any("sport=20005" in line and f"dport={arrived['sourcePort']}" in line
                                    for line in seen["router"]["conntrack"]), seen["router"]["conntrack"])

    def test_a_drop_shows_in_the_counters_and_nowhere_behind(self) -> None:
        with Rule("filter", "FORWARD", "-p", "tcp", "--dport", "1234", "-j", "DROP"):
            probed, seen = watch("tcp", 20006)
        self.assertEqual(probed["outcome"], "timeout")
        rule = "-A FORWARD -p tcp -m tcp --dport 1234 -j DROP"
        before, after = (next(line for line in seen["router"][when].splitlines() if rule in line)
                         for when in ("before", "after"))
        self.assertTrue(before.startswith("[0:"), before)
        self.assertFalse(after.startswith("[0:"), after)
        self.assertEqual([packet["direction"] for packet in seen["router"]["packets"]], ["in"])
        self.assertEqual(seen["server"]["packets"], [])

    def test_icmp_messages_carry_the_packet_that_they_are_about(self) -> None:
        _, seen = watch("tcp", 20007, host="10.22.0.1")
        syn = first(seen["client"]["packets"], flags="S")
        message = first(seen["client"]["packets"], protocol="icmp")
        self.assertEqual((message["type"], message["source"]), (3, "10.1.0.1"))
        self.assertEqual((message["about"]["sequence"], message["about"]["port"]), (syn["sequence"], 1234))

    def test_routes_are_those_of_the_flow(self) -> None:
        lookups = [{"id": "there", "to": "10.2.0.2", "from": "10.1.0.2", "in": "c", "protocol": "tcp",
                    "sourcePort": 20008, "port": 1234},
                   {"id": "nowhere", "to": "10.99.0.1", "from": "10.1.0.2", "in": "c"},
                   {"id": "own", "to": "10.2.0.2"}]
        routes = Watcher("router", seconds=0.1, lookups=lookups).wait_until_listening().result()["routes"]
        self.assertEqual(routes["there"]["dev"], "s")
        self.assertEqual(routes["own"]["prefsrc"], "10.2.0.1")
        self.assertIn("unreachable", routes["nowhere"]["error"])

    def test_other_ports_are_not_seen_and_no_more_than_asked_for(self) -> None:
        _, seen = watch("tcp", 20009, most=2)
        self.assertEqual(len(seen["router"]["packets"]), 2)
        watcher = Watcher("router", ports={"tcp": [9], "udp": []}).wait_until_listening()
        probe_one(network.CLIENT, protocol="tcp", host="10.2.0.2", port=1234)
        self.assertEqual(watcher.result()["packets"], [])

    def test_a_machine_without_a_bgp_daemon_says_nothing_about_prefixes(self) -> None:
        result = Watcher("server", seconds=0.1, prefixes=["10.2.0.2"]).wait_until_listening().result()
        self.assertEqual(result["bgp"], {"10.2.0.2": ""})
        self.assertEqual(result["lost"], 0)
