#!/usr/bin/python3 -ES
"""Connectivity probe: runs every cell of one machine at once and says what exactly happened to each.

Standard input is ONE JSON document, standard output one JSON line per finished item, then {"done":true,"count":N}:

    {"timeoutMs": 1500, "concurrency": 500,
     "cells": [{"id": "a", "protocol": "tcp"|"udp"|"icmp", "host": "name or address", "port": 1234, "tries": 1,
                "sourcePort": 20001, "delayMs": 0, "fullSize": true, "talk": "echo"|"none"|"http"}],
     "dns":   [{"id": "b", "name": "headless.echo-server", "type": "A"|"CNAME"|"SRV"|"PTR", "server": "10.96.0.10"}]}

A cell of icmp is one ping, and its port 0. timeoutMs limits each wait: per full name, per TCP connection (the default
leaves room for one SYN and its retransmission after 1 s), per TCP conversation after it, per UDP or ICMP reply. A
timeout, the only inconclusive outcome, is tried again up to `tries` times in all. The kernel chooses the source port,
unless `sourcePort` does, so that the flow is known before it starts. A cell is begun `delayMs` after the others. With
`fullSize` a cell that is ok goes on with packets as large as the path takes (full_size.py). Input that makes no sense
gives {"error": ...} and exit code 2.
"""
import errno
import json
import os
import signal
import sys
import time
from typing import Any, Callable

import full_size
from conversations import Failed, connect_only, datagram, http, icmp, milliseconds, tcp, udp
from resolver import TYPES, DnsFailure, Resolver, is_address
from scheduler import Scheduler, Task, Wait

DEFAULT_TIMEOUT_MS = 1500
RESERVED_FDS = 32  # standard streams, the selector, a UDP cell's second socket
CELL_FIELDS = ("server", "serverPort", "client", "clientPort", "connectMs", "rttMs", "attempts", "errno", "address",
               "localAddress", "localPort", "nonce", "detail", "fullSize", "status")

TALKS = {("tcp", "echo"): (tcp, full_size.tcp), ("udp", "echo"): (udp, full_size.udp), ("icmp", "echo"): (icmp, None),
         ("tcp", "none"): (connect_only, None), ("tcp", "http"): (http, None), ("udp", "none"): (datagram, None)}


def probe_cell(cell: dict[str, Any], timeout: float, resolver: Resolver) -> Task:
    """One cell to its result."""
    blank = {"id": cell["id"], "outcome": "ok"} | dict.fromkeys(CELL_FIELDS) | {"attempts": 0}
    result = dict(blank)
    try:
        if delay := cell.get("delayMs", 0):
            yield Wait(None, 0, time.monotonic() + delay / 1000)
        address = cell["host"]
        if not is_address(address):
            address = (yield from resolver.lookup(address, "A", timeout)).data[0]
        for attempt in range(1, cell.get("tries", 1) + 1):
            result = blank | {"address": address, "attempts": attempt}
            try:
                talk, after = TALKS[cell["protocol"], cell.get("talk", "echo")]
                yield from talk(address, cell["port"], timeout, result, cell.get("sourcePort", 0),
                                after if cell.get("fullSize") else None)
                break
            except Failed as failed:
                result |= {"outcome": failed.outcome, "detail": failed.detail,
                           "errno": errno.errorcode.get(failed.errno) if failed.errno else None}
                if failed.outcome != "timeout":
                    break
    except DnsFailure as failed:
        result |= {"outcome": failed.outcome, "detail": failed.detail}
    return result


def probe_name(item: dict[str, Any], timeout: float, resolver: Resolver) -> Task:
    """One DNS question: what was answered, under which full name, by which server."""
    started = time.monotonic()
    result = {"id": item["id"], "kind": "dns", "outcome": "ok", "name": None, "answers": [], "ttl": None,
              "server": None, "rcode": None, "rttMs": None, "detail": None}
    try:
        answer = yield from resolver.lookup(item["name"], item["type"], timeout, item.get("server"))
        result |= {"name": answer.name, "answers": answer.data, "ttl": answer.ttl, "server": answer.server,
                   "rcode": answer.rcode, "detail": answer.detail or None}
    except DnsFailure as failed:
        result |= {"outcome": failed.outcome, "detail": failed.detail, "server": failed.server, "rcode": failed.rcode}
    return result | {"rttMs": milliseconds(time.monotonic() - started)}


Check = Callable[[Any], bool]


def whole(low: int, high: int) -> Check:
    """A check for integers in a range (JSON's true is not 1)."""
    return lambda value: type(value) is int and low <= value <= high


def word(value: Any) -> bool:
    """A check for a non-empty string."""
    return isinstance(value, str) and value != ""


CELL_RULES: dict[str, Check] = {
    "id": word, "protocol": lambda value: value in ("tcp", "udp", "icmp"), "host": word, "port": whole(0, 65535),
    "tries": whole(1, 100), "sourcePort": whole(1, 65535),
    "delayMs": whole(0, 600_000), "fullSize": lambda value: isinstance(value, bool),
    "talk": lambda value: value in ("echo", "none", "http"),
}
DNS_RULES: dict[str, Check] = {
    "id": word, "name": word, "type": lambda value: value in tuple(TYPES),
    "server": lambda value: isinstance(value, str) and is_address(value),
}
JOB_RULES: dict[str, Check] = {
    "timeoutMs": whole(1, 600_000), "concurrency": whole(1, 1_000_000),
    "cells": lambda value: isinstance(value, list), "dns": lambda value: isinstance(value, list),
}


def check(value: Any, rules: dict[str, Check], optional: tuple[str, ...], where: str) -> None:
    """Raises ValueError at the first key that is missing, unknown or wrong."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no object")
    for key in rules:
        if key not in value and key not in optional:
            raise ValueError(f"{where}.{key} is missing")
    for key, content in value.items():
        if key not in rules:
            raise ValueError(f"{where}.{key} is unknown; known are {', '.join(rules)}")
        if not rules[key](content):
            raise ValueError(f"{where}.{key} cannot be {json.dumps(content)}")


def read_job(text: str) -> dict[str, Any]:
    """The document, checked and with its defaults; ValueError says what is wrong with it."""
    document = json.loads(text)
    check(document, JOB_RULES, tuple(JOB_RULES), "job")
    job: dict[str, Any] = {"timeoutMs": DEFAULT_TIMEOUT_MS, "cells": [], "dns": []} | document
    for index, cell in enumerate(job["cells"]):
        check(cell, CELL_RULES, ("tries", "sourcePort", "delayMs", "fullSize", "talk"), f"cells[{index}]")
        if (cell["protocol"], cell.get("talk", "echo")) not in TALKS:
            raise ValueError(f"cells[{index}].talk cannot be {json.dumps(cell['talk'])} with {cell['protocol']}")
    for index, item in enumerate(job["dns"]):
        check(item, DNS_RULES, ("server",), f"dns[{index}]")
    ids = [item["id"] for item in (*job["cells"], *job["dns"])]
    if len(set(ids)) != len(ids):
        raise ValueError(f"id {next(name for name in ids if ids.count(name) > 1)!r} is used twice")
    return job


def emit(document: dict[str, Any]) -> None:
    """One JSON line, at once."""
    print(json.dumps(document, separators=(",", ":")), flush=True)


def main() -> None:
    """Reads the job, runs it, prints the results."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever started us has gone: stop
    try:
        job = read_job(sys.stdin.read())
    except ValueError as error:  # also what json.loads and a wrong encoding raise
        emit({"error": str(error)})
        sys.exit(2)
    timeout = job["timeoutMs"] / 1000
    resolver = Resolver()
    tasks = [(cell["id"], probe_cell(cell, timeout, resolver)) for cell in job["cells"]]
    tasks += [(item["id"], probe_name(item, timeout, resolver)) for item in job["dns"]]
    most = max(1, os.sysconf("SC_OPEN_MAX") - RESERVED_FDS)
    scheduler = Scheduler(
        concurrency=min(job.get("concurrency", most), most),
        done=emit,
        broken=lambda name, error: emit(
            {"id": name, "outcome": "harness-error", "detail": f"{type(error).__name__}: {error}"}),
    )
    scheduler.run(tasks)
    emit({"done": True, "count": len(tasks)})


if __name__ == "__main__":
    main()
