"""images/machine/plain/lab-network against a real kernel, in a network namespace that ends with this process."""
import contextlib
import ctypes
import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

from support import ROOT

CLONE_NEWNET = 0x40000000  # linux/sched.h
GUARD = ["10.255.0.0/16", "2.2.2.2/32"]


def load() -> Any:
    """The program as a module; its name has no .py."""
    path = str(ROOT / "images/machine/plain/lab-network")
    loader = importlib.machinery.SourceFileLoader("lab_network", path)
    spec = importlib.util.spec_from_loader("lab_network", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def ip(*words: str) -> str:
    """What ip(8) says, errors included."""
    done = subprocess.run(["ip", "-4", *words], check=False, capture_output=True, text=True)
    return done.stdout + done.stderr


def setUpModule() -> None:
    if os.geteuid() != 0 or not shutil.which("ip"):
        raise unittest.SkipTest("network namespaces need root and the ip command")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise unittest.SkipTest(f"no new namespace here: {os.strerror(ctypes.get_errno())}")
    for line in ("ip link set lo up", "ip link add uplink type veth peer name other", "ip link set uplink up",
                 "ip link set other up", "ip addr add 10.97.0.5/24 dev uplink", "ip route add default via 10.97.0.1"):
        subprocess.run(line.split(), check=True)


class LabNetwork(unittest.TestCase):
    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.program = load()
        self.wanted, self.before, self.hosts = folder / "network.json", folder / "lib/before.json", folder / "hosts"
        self.program.WANTED, self.program.BEFORE = str(self.wanted), str(self.before)
        self.program.HOSTS, self.program.NIC_SECONDS = str(self.hosts), 1
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.settings: dict[str, Any] = {
            "address": "192.168.13.30/24", "routes": [{"to": "10.96.0.0/12"}, {"to": "5.5.5.5/32", "via": "192.168.13.39"}],
            "guard": GUARD, "sysctls": [["net.ipv4.ip_forward", "1"], ["net.ipv4.conf.NIC.rp_filter", "2"]],
            "hosts": ["192.168.13.30 k8smaster1"]}
        self.write()
        self.addCleanup(self.down)

    def write(self, **change: Any) -> None:
        self.wanted.write_text(json.dumps(self.settings | change))

    def down(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.program.main(["down"])

    def test_up_twice_is_up_once(self) -> None:
        for _ in range(2):
            self.program.main(["up"])
        self.assertEqual(ip("addr", "show", "dev", "uplink").count("inet "), 2)
        # The lab's address is the source, not the first address of the NIC.
        self.assertIn("dev uplink src 192.168.13.30", ip("route", "get", "10.100.0.1"))
        self.assertIn("via 192.168.13.39 dev uplink src 192.168.13.30", ip("route", "get", "5.5.5.5"))
        self.assertEqual(ip("rule").count("unreachable"), len(GUARD))
        self.assertEqual(Path("/proc/sys/net/ipv4/conf/uplink/rp_filter").read_text().strip(), "2")
        self.assertEqual(self.hosts.read_text().count("k8smaster1"), 1)

    def test_a_lab_prefix_never_follows_the_default_route(self) -> None:
        self.assertIn("via 10.97.0.1", ip("route", "get", "2.2.2.2"))
        self.program.main(["up"])
        self.assertIn("Network is unreachable", ip("route", "get", "2.2.2.2"))
        self.assertIn("via 10.97.0.1", ip("route", "get", "2.2.2.3"))
        ip("route", "add", "2.2.2.2", "via", "192.168.13.39")
        self.assertIn("via 192.168.13.39", ip("route", "get", "2.2.2.2"))
        ip("route", "del", "2.2.2.2")

    def test_down_puts_back_what_up_found(self) -> None:
        def snapshot() -> list[str]:
            settings = ("ip_forward", "conf/uplink/rp_filter")
            values = [Path("/proc/sys/net/ipv4", name).read_text() for name in settings]
            return [ip("addr"), ip("route"), ip("rule"), self.hosts.read_text(), *values]
        before = snapshot()
        self.program.main(["up"])
        self.program.main(["up"])
        self.assertNotEqual(snapshot(), before)
        self.program.main(["down"])
        self.assertEqual(snapshot(), before)
        self.assertFalse(self.before.exists())
        self.program.main(["down"])
        self.assertEqual(snapshot(), before)

    def test_down_puts_back_what_a_later_version_of_the_lab_sets_too(self) -> None:
        setting = Path("/proc/sys/net/ipv4/icmp_ratemask")
        before = setting.read_text()
        self.program.main(["up"])
        self.write(sysctls=[*self.settings["sysctls"], ["net.ipv4.icmp_ratemask", "0"]])
        for _ in range(2):
            self.program.main(["up"])
        self.assertEqual(setting.read_text(), "0\n")
        self.program.main(["down"])
        self.assertEqual(setting.read_text(), before)

    def test_an_address_that_was_there_stays(self) -> None:
        ip("addr", "add", "192.168.13.30/24", "dev", "uplink")
        self.program.main(["up"])
        self.program.main(["down"])
        self.assertIn("192.168.13.30", ip("addr"))
        ip("addr", "del", "192.168.13.30/24", "dev", "uplink")

    def test_an_address_by_dhcp_is_used_and_never_set(self) -> None:
        lease = {"address": "10.97.0.5/24", "dhcp": True, "routes": [{"to": "5.5.5.5/32", "via": "10.97.0.39"}]}
        self.write(**lease)
        self.program.main(["up"])
        self.assertIn("via 10.97.0.39 dev uplink src 10.97.0.5", ip("route", "get", "5.5.5.5"))
        self.assertEqual(ip("addr", "show", "dev", "uplink").count("inet "), 1)
        self.program.main(["down"])
        self.assertIn("10.97.0.5/24", ip("addr"))

    def test_after_another_lease_the_guard_is_up_and_nothing_leads_to_old_addresses(self) -> None:
        self.write(address="10.97.0.7/24", dhcp=True, routes=[{"to": "2.2.2.2/32", "via": "10.97.0.39"}])
        ip("route", "add", "2.2.2.2", "via", "10.97.0.39")
        self.program.main(["up"])
        self.assertNotIn("10.97.0.7", ip("addr"))
        self.assertIn("Network is unreachable", ip("route", "get", "2.2.2.2"))
        self.assertEqual(Path("/proc/sys/net/ipv4/conf/uplink/rp_filter").read_text().strip(), "2")

    def test_a_nic_that_is_not_there_is_said(self) -> None:
        self.write(mac="02:00:00:00:00:99")
        with self.assertRaisesRegex(SystemExit, "no interface has the MAC address 02:00:00:00:00:99"):
            self.program.main(["up"])


if __name__ == "__main__":
    unittest.main()
