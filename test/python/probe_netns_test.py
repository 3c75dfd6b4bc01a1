"""probe/probe.py against real routes, filters and routers, in network namespaces that end with this process.

    client 10.1.0.2 -- 10.1.0.1 router 10.2.0.1 -- 10.2.0.2 server (echo server, and a second address 10.2.0.3)
"""
import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import sys
import unittest
from typing import Any

from support import ROOT, probe_one, run_probe

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000  # linux/sched.h
PORTS = {"tcp": 1234, "udp": 5678}
CLIENT = ("ip", "netns", "exec", "client")
resources = contextlib.ExitStack()


def sh(script: str) -> None:
    """Runs each line as a command."""
    for line in script.strip().splitlines():
        subprocess.run(line.split(), check=True)


def setUpModule() -> None:
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("sysctl"):
        raise unittest.SkipTest("network namespaces need root and the ip and sysctl commands")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise unittest.SkipTest(f"no new namespaces here: {os.strerror(ctypes.get_errno())}")
    os.makedirs("/run/netns", exist_ok=True)
    # The names of our namespaces exist only in our own mount namespace. icmp_ratemask=0 leaves only the limit that
    # test_what_a_router_says knows; icmp_ratelimit=0 would empty that one too, for both count in the same peer entry.
    sh("""
        mount --make-rprivate /
        mount -t tmpfs tmpfs /run/netns
        ip netns add client
        ip netns add router
        ip netns add server
        ip -n client link add eth0 type veth peer name c netns router
        ip -n server link add eth0 type veth peer name s netns router
        ip -n client addr add 10.1.0.2/24 dev eth0
        ip -n router addr add 10.1.0.1/24 dev c
        ip -n router addr add 10.2.0.1/24 dev s
        ip -n server addr add 10.2.0.2/24 dev eth0
        ip -n server addr add 10.2.0.3/24 dev eth0
        ip -n client link set lo up
        ip -n router link set lo up
        ip -n server link set lo up
        ip -n client link set eth0 up
        ip -n server link set eth0 up
        ip -n router link set c up
        ip -n router link set s up
        ip netns exec router sysctl -qw net.ipv4.ip_forward=1
        ip netns exec router sysctl -qw net.ipv4.icmp_ratemask=0
        ip -n client route add 10.0.0.0/8 via 10.1.0.1
        ip -n server route add default via 10.2.0.1
        ip -n client addr add 10.1.0.3/24 dev eth0
        ip -n client addr add 10.1.0.4/24 dev eth0
        ip -n client route add 10.97.0.0/16 via 10.1.0.1 src 10.1.0.3
        ip -n client route add 10.98.0.0/16 via 10.1.0.1 src 10.1.0.4
        ip -n client route add blackhole 10.11.0.0/24
        ip -n client route add unreachable 10.12.0.0/24
        ip -n client route add prohibit 10.13.0.0/24
        ip -n router route add blackhole 10.21.0.0/24
        ip -n router route add unreachable 10.22.0.0/24
        ip -n router route add prohibit 10.23.0.0/24
    """)
    for protocol, port in PORTS.items():
        process = resources.enter_context(subprocess.Popen(
            ["ip", "netns", "exec", "server", sys.executable, "-B", str(ROOT / "echo/echo_server.py"), protocol,
             str(port)], stdout=subprocess.PIPE, text=True))
        resources.callback(process.kill)
        assert process.stdout and "listening" in process.stdout.readline()


def tearDownModule() -> None:
    resources.close()


def probe(host: str, protocol: str, port: int = 0) -> dict[str, Any]:
    return probe_one(CLIENT, protocol=protocol, host=host, port=port or PORTS.get(protocol, 0))


class Routes(unittest.TestCase):
    def assert_outcomes(self, table: dict[str, tuple[str, Any]],
                        protocols: tuple[str, ...] = ("tcp", "udp")) -> dict[str, dict[str, Any]]:
        """One probe of every address over both protocols; the result of each."""
        cells = [{"id": f"{protocol} {host}", "protocol": protocol, "host": host, "port": PORTS[protocol]}
                 for host in table for protocol in protocols]
        _, lines = run_probe({"timeoutMs": 400, "cells": cells}, CLIENT)
        results = {line["id"]: line for line in lines[:-1]}
        self.assertEqual({name: (result["outcome"], result["errno"]) for name, result in results.items()},
                         {cell["id"]: table[cell["host"]] for cell in cells})
        return results

    def test_through_the_router(self) -> None:
        results = self.assert_outcomes({"10.2.0.2": ("ok", None), "10.2.0.3": ("ok", None)})
        for result in results.values():
            self.assertEqual((result["server"], result["client"]), (result["address"], "10.1.0.2"))

    def test_local_routes(self) -> None:
        self.assert_outcomes({
            "192.0.2.1": ("no-route", "ENETUNREACH"),  # none at all
            "10.11.0.1": ("no-route", "EINVAL"),  # blackhole
            "10.12.0.1": ("host-unreachable", "EHOSTUNREACH"),  # unreachable
            "10.13.0.1": ("denied", "EACCES"),  # prohibit
        })

    def test_what_a_router_says_is_typed_for_udp_too(self) -> None:
        # Five messages: a router sends one host so many at once and then one per second (ip_error, net/ipv4/route.c).
        unreachable, none = ("host-unreachable", "EHOSTUNREACH"), ("no-route", "ENETUNREACH")
        self.assert_outcomes({"10.22.0.1": unreachable, "10.99.0.1": none}, ("tcp",))
        results = self.assert_outcomes(
            {"10.22.0.1": unreachable, "10.23.0.1": unreachable, "10.99.0.1": none}, ("udp",))
        self.assertIn("ICMP type 3 code 13 from 10.1.0.1", results["udp 10.23.0.1"]["detail"])

    def test_cells_that_begin_a_second_apart_get_more_than_five(self) -> None:
        # The limit is kept by the client's address, so each round has one of its own.
        for host, delays, most in (("10.97.0.1", (0,) * 9, 5),
                                   ("10.98.0.1", (0, 0, 0, 0, 1100, 2200, 3300, 4400, 5500), 9)):
            cells = [{"id": str(index), "protocol": "tcp", "host": host, "port": 1 + index, "delayMs": delay}
                     for index, delay in enumerate(delays)]
            _, lines = run_probe({"timeoutMs": 400, "cells": cells}, CLIENT)
            self.assertEqual([line["outcome"] for line in lines[:-1]].count("no-route"), most)

    def test_a_silent_router_and_a_dead_neighbour_are_timeouts(self) -> None:
        self.assert_outcomes({"10.21.0.1": ("timeout", None), "10.1.0.99": ("timeout", None)})

    def test_a_node_refuses_any_number_of_connections_at_once(self) -> None:
        settings = re.findall(r"- (net\.ipv4\.icmp_\w+=\d+)", (ROOT / "cloud-init/node.yaml").read_text())
        usual = subprocess.run(("ip", "netns", "exec", "server", "sysctl", "net.ipv4.icmp_ratemask"), check=True,
                               capture_output=True, text=True).stdout.replace(" ", "").strip()
        cells = [{"id": str(port), "protocol": "udp", "host": "10.2.0.3", "port": port} for port in range(100, 116)]
        for values, is_limited in ((settings, False), ((usual,), True)):
            sh("\n".join(f"ip netns exec server sysctl -qw {value}" for value in values))
            _, lines = run_probe({"timeoutMs": 400, "cells": cells}, CLIENT)
            self.assertEqual("timeout" in [line["outcome"] for line in lines[:-1]], is_limited, values)

    def test_a_closed_port_behind_the_router_is_refused(self) -> None:
        for protocol in ("tcp", "udp"):
            self.assertEqual(probe("10.2.0.2", protocol, 9)["outcome"], "refused")


class Ping(unittest.TestCase):
    """One echo request, by the kernel's ping socket and by a raw one, several at once."""

    TABLE = {
        "10.2.0.2": ("ok", None), "10.2.0.3": ("ok", None), "10.1.0.1": ("ok", None), "127.0.0.1": ("ok", None),
        "192.0.2.1": ("no-route", "ENETUNREACH"), "10.11.0.1": ("no-route", "EINVAL"),
        "10.21.0.1": ("timeout", None), "10.23.0.1": ("host-unreachable", "EHOSTUNREACH"),
    }

    def test_both_sockets_tell_the_same(self) -> None:
        for groups in ("1 0", "0 2147483647"):
            subprocess.run(("ip", "netns", "exec", "client", "sysctl", "-qw", f"net.ipv4.ping_group_range={groups}"),
                           check=True)
            cells = [{"id": host, "protocol": "icmp", "host": host, "port": 0} for host in self.TABLE]
            _, lines = run_probe({"timeoutMs": 400, "cells": cells}, CLIENT)
            results = {line["id"]: line for line in lines[:-1]}
            self.assertEqual({host: (each["outcome"], each["errno"]) for host, each in results.items()}, self.TABLE)
            self.assertEqual((results["10.2.0.3"]["server"], results["10.2.0.3"]["client"]), ("10.2.0.3", None))


class FullSize(unittest.TestCase):
    """Links whose MTU is smaller, with and without the message that says so."""

    def results(self, host: str = "10.2.0.2", prefix: tuple[str, ...] = CLIENT) -> dict[str, dict[str, Any]]:
        cells = [{"id": protocol, "protocol": protocol, "host": host, "port": port, "fullSize": True}
                 for protocol, port in PORTS.items()]
        _, lines = run_probe({"timeoutMs": 1500, "cells": cells}, prefix)
        self.assertEqual([line["outcome"] for line in lines[:-1]], ["ok", "ok"], lines)
        return {line["id"]: line["fullSize"] for line in lines[:-1]}

    def narrow(self, namespace: str, link: str, mtu: int = 1280) -> None:
        sh(f"ip -n {namespace} link set {link} mtu {mtu}")
        self.addCleanup(sh, f"""
            ip -n {namespace} link set {link} mtu 1500
            ip -n client route flush cache
            ip -n server route flush cache
        """)

    def silence(self) -> None:
        """The router does not say any more that a packet is too long."""
        rule = "OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP"
        iptables = "ip netns exec router iptables -w"
        added = subprocess.run(f"{iptables} -A {rule}".split(), capture_output=True, text=True, check=False)
        if added.returncode != 0:
            self.skipTest(f"no iptables here: {added.stderr.strip()}")
        self.addCleanup(sh, f"{iptables} -D {rule}")

    def test_they_pass(self) -> None:
        self.assertEqual(self.results(), {"tcp": {"bytes": 65536, "lost": None, "detail": None},
                                          "udp": {"bytes": 1500, "lost": None, "detail": None}})

    def test_they_pass_to_the_machine_itself(self) -> None:
        results = self.results("10.2.0.2", ("ip", "netns", "exec", "server"))
        self.assertEqual([full["lost"] for full in results.values()], [None, None], results)

    def test_they_pass_through_address_translation_also_of_the_node_itself(self) -> None:
        iptables = "ip netns exec router iptables -w -t nat"
        rules = [f"{chain} -d 10.1.0.1 -p {protocol} --dport {port} -j DNAT --to-destination 10.2.0.2:{port}"
                 for chain in ("PREROUTING", "OUTPUT") for protocol, port in PORTS.items()]
        for rule in (*rules, "POSTROUTING -d 10.2.0.2 -j MASQUERADE"):
            added = subprocess.run(f"{iptables} -A {rule}".split(), capture_output=True, text=True, check=False)
            if added.returncode != 0:
                self.skipTest(f"no iptables here: {added.stderr.strip()}")
            self.addCleanup(sh, f"{iptables} -D {rule}")
        for prefix in (CLIENT, ("ip", "netns", "exec", "router")):
            self.assertEqual({key: (full["bytes"], full["lost"]) for key, full in
                              self.results("10.1.0.1", prefix).items()},
                             {"tcp": (65536, None), "udp": (1500, None)})
        self.narrow("router", "s", 1450)
        for prefix in (CLIENT, ("ip", "netns", "exec", "router")):
            udp = self.results("10.1.0.1", prefix)["udp"]
            self.assertEqual((udp["bytes"], udp["lost"]), (1450, None))

    def test_a_smaller_link_that_is_told_of_is_no_fault(self) -> None:
        self.narrow("router", "s")
        results = self.results()
        self.assertEqual({key: full["lost"] for key, full in results.items()}, {"tcp": None, "udp": None}, results)
        self.assertEqual(results["udp"]["bytes"], 1280)

    def test_a_smaller_link_that_nothing_is_told_of_loses_them(self) -> None:
        self.narrow("router", "s")
        self.silence()
        results = self.results("10.2.0.3")
        self.assertEqual({key: full["lost"] for key, full in results.items()}, {"tcp": "there", "udp": "somewhere"})
        self.assertIn("of 65536 bytes 0 arrived and 0 came back", results["tcp"]["detail"])
        self.assertIn("no answer to a packet of 1500 bytes", results["udp"]["detail"])

    def test_a_smaller_link_on_the_way_back_loses_them(self) -> None:
        self.narrow("router", "c")
        self.silence()
        # Segments to the router that are still joined are taken whatever the MTU of its end of the link is.
        self.assertEqual(self.results()["tcp"]["lost"], "back")


class Filters(unittest.TestCase):
    """A REJECT or DROP rule in each place a Kubernetes lab has them."""

    def outcome(self, namespace: str, chain: str, protocol: str, *action: str) -> str:
        rule = [chain, "-p", protocol, "-d", "10.2.0.2", *action]
        iptables = ("ip", "netns", "exec", namespace, "iptables", "-w")
        added = subprocess.run([*iptables, "-A", *rule], capture_output=True, text=True, check=False)
        if added.returncode != 0:
            self.skipTest(f"no iptables here: {added.stderr.strip()}")
        try:
            return str(probe("10.2.0.2", protocol)["outcome"])
        finally:
            subprocess.run([*iptables, "-D", *rule], check=True)

    def setUp(self) -> None:
        if not shutil.which("iptables"):
            self.skipTest("no iptables here")

    def test_forward_reject_is_refused(self) -> None:
        for protocol in ("tcp", "udp"):
            self.assertEqual(self.outcome("router", "FORWARD", protocol, "-j", "REJECT"), "refused")

    def test_forward_drop_is_a_timeout(self) -> None:
        for protocol in ("tcp", "udp"):
            self.assertEqual(self.outcome("router", "FORWARD", protocol, "-j", "DROP"), "timeout")

    def test_output_drop_is_a_timeout_for_tcp_and_denied_for_udp_and_icmp(self) -> None:
        self.assertEqual(self.outcome("client", "OUTPUT", "tcp", "-j", "DROP"), "timeout")
        self.assertEqual(self.outcome("client", "OUTPUT", "udp", "-j", "DROP"), "denied")
        self.assertEqual(self.outcome("client", "OUTPUT", "icmp", "-j", "DROP"), "denied")

    def test_administratively_prohibited_is_host_unreachable(self) -> None:
        for protocol in ("tcp", "udp"):
            self.assertEqual(self.outcome("router", "FORWARD", protocol, "-j", "REJECT", "--reject-with",
                                          "icmp-admin-prohibited"), "host-unreachable")

    def test_a_reset_from_the_path_is_refused(self) -> None:
        self.assertEqual(self.outcome("router", "FORWARD", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"),
                         "refused")


class Names(unittest.TestCase):
    """The machine's own resolver, when nothing answers it."""

    def test_no_name_server_is_a_dns_error_for_cells_and_for_questions(self) -> None:
        script = "mount --bind \"$0\" /etc/resolv.conf; exec \"$@\""
        conf = f"/run/netns/resolv.conf.{os.getpid()}"
        with open(conf, "w", encoding="ascii") as file:
            file.write("nameserver 10.12.0.53\nsearch svc.cluster.local\n")
        _, lines = run_probe({"timeoutMs": 400, "cells": [{"id": "c", "protocol": "tcp", "host": "no.such", "port": 1}],
                              "dns": [{"id": "d", "name": "no.such", "type": "A"},
                                      {"id": "s", "name": "no.such", "type": "A", "server": "192.0.2.1"}]},
                             (*CLIENT, "sh", "-c", script, conf))
        outcomes = {line["id"]: line for line in lines[:-1]}
        self.assertEqual({line["outcome"] for line in outcomes.values()}, {"dns-error"})
        self.assertIn("10.12.0.53: No route to host", outcomes["c"]["detail"])
        self.assertEqual(outcomes["c"]["attempts"], 0)
        self.assertIn("Network is unreachable", outcomes["s"]["detail"])
