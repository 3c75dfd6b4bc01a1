#!/usr/bin/python3 -ES
"""Watches one machine while a connection is tried from somewhere else, and says all that the machine knows about it.

Standard input is ONE JSON document:

    {"seconds": 2.5, "most": 500, "ports": {"tcp": [1234, 20001], "udp": []},
     "lookups": [{"id": "a", "to": "2.2.2.2", "from": "192.0.2.1", "in": "eth0", "protocol": "tcp", "sourcePort": 20001,
                  "port": 1234}],
     "rules": ["iptables-save", "-c"], "sets": ["ipset", "save"], "prefixes": ["2.2.2.2"]}

Standard output is {"listening": true} as soon as no packet can be missed any more, and after `seconds` one document:
packets with one of the ports at either end and the link-layer address of who sent them (capture.py), the machine's own
link-layer addresses, what the command `rules` prints before and after (every rule with its counter) and the command
`sets` after (IP sets), the connection tracking entries of the ports, the route of each lookup (`from` and `in` for what
is forwarded) and what the BGP daemon says about each prefix. A tool that is missing or fails leaves its part empty and a line in "problems".
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

from capture import Capture

TOOL_SECONDS = 5


class Machine:
    """Runs the machine's own tools and keeps what they complain about."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def ask(self, *argv: str, quiet: bool = False) -> Optional[str]:
        """Standard output of a command; None where it is missing or failed."""
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False,
                                  stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            self.problems.append(f"{argv[0]}: not installed")
            return None
        except subprocess.TimeoutExpired:
            self.problems.append(f"{argv[0]}: no answer within {TOOL_SECONDS} s")
            return None
        if done.returncode == 0:
            return done.stdout
        if not quiet:
            self.problems.append(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
        return None

    def conntrack(self, ports: dict[str, list[int]]) -> list[str]:
        """The entries that have one of the ports in either direction."""
        lines: list[str] = []
        for protocol, numbers in ports.items():
            wanted = {f"{end}={number}" for number in numbers for end in ("sport", "dport")}
            text = self.ask("conntrack", "-L", "-p", protocol) if numbers else ""
            lines += [line for line in (text or "").splitlines() if wanted.intersection(line.split())]
        return lines

    def route(self, lookup: dict[str, Any]) -> dict[str, Any]:
        """Where the kernel sends the flow, with its ports, which multipath hashing may look at; or why it does not."""
        given = [("from", "from"), ("in", "iif"), ("protocol", "ipproto"), ("sourcePort", "sport"), ("port", "dport")]
        options = [word for key, name in given if key in lookup for word in (name, str(lookup[key]))]
        done = subprocess.run(["ip", "-j", "route", "get", lookup["to"], *options], capture_output=True, text=True,
                              timeout=TOOL_SECONDS, check=False)
        if done.returncode != 0:
            return {"error": done.stderr.strip().removeprefix("RTNETLINK answers: ")}
        return dict(json.loads(done.stdout)[0])

    def bgp(self, prefix: str) -> str:
        """What the daemon that runs here, BIRD or FRR, knows about an address; '' where neither does."""
        daemons = (("birdc", "show", "route", "for", prefix), ("vtysh", "-c", f"show bgp ipv4 unicast {prefix}"))
        answers = (self.ask(*argv, quiet=True) for argv in daemons if shutil.which(argv[0]))
        return next((answer for answer in answers if answer), "")


def link_addresses() -> list[str]:
    """The link-layer addresses of the machine's interfaces."""
    names = os.listdir("/sys/class/net")
    return [Path("/sys/class/net", name, "address").read_text("ascii").strip() for name in names]


def emit(document: dict[str, Any]) -> None:
    """One JSON line, at once."""
    print(json.dumps(document, separators=(",", ":")), flush=True)


def main() -> None:
    """Reads the job, watches, tells."""
    job = json.load(sys.stdin)
    machine = Machine()
    before = machine.ask(*job["rules"]) or ""
    capture = Capture(job["ports"], job["most"])
    emit({"listening": True})
    packets = capture.run(job["seconds"])
    result = {
        "packets": packets, "lost": capture.lost(), "own": link_addresses(),
        "before": before, "after": machine.ask(*job["rules"]) or "", "sets": machine.ask(*job["sets"]) or "",
        "conntrack": machine.conntrack(job["ports"]),
        "routes": {lookup["id"]: machine.route(lookup) for lookup in job["lookups"]},
        "bgp": {prefix: machine.bgp(prefix) for prefix in job["prefixes"]},
    }
    emit(result | {"problems": machine.problems})


if __name__ == "__main__":
    main()
