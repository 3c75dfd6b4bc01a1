"""A small stub resolver that tells "there is no such name" from "nobody could say", which getaddrinfo(3) does not.

It does what the machine's own resolver does: /etc/hosts first, then the name servers, search list and ndots of
/etc/resolv.conf, resolv.conf(5). Messages are those of RFC 1035, SRV data that of RFC 2782.
"""
import os
import selectors
import socket
import struct
import time
from typing import Generator, NamedTuple, Optional

from scheduler import Wait

TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "SRV": 33}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
NXDOMAIN_LIKE = ("NXDOMAIN", "NODATA")
MAX_POINTERS = 64  # a compressed name with more jumps is a loop


def is_address(text: str) -> bool:
    """True for a complete IPv4 address in dotted form."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except OSError:
        return False
    return True


class Answer(NamedTuple):
    """What a server said about one full name; `data` is sorted, SRV as "priority weight port target"."""

    name: str
    rcode: str  # of the protocol, or NODATA, TIMEOUT, ERROR
    server: Optional[str]
    data: list[str]
    ttl: Optional[int]
    detail: str = ""


class DnsFailure(Exception):
    """No answer: outcome dns-nxdomain (somebody in charge says there is none) or dns-error."""

    def __init__(self, outcome: str, tried: list[Answer]) -> None:
        super().__init__(outcome)
        last = tried[-1]
        decisive = next((answer for answer in tried if answer.rcode in NXDOMAIN_LIKE), last)
        self.outcome = outcome
        self.rcode, self.server = (decisive if outcome == "dns-nxdomain" else last)[1:3]
        self.detail = "; ".join(
            f"{answer.name}: {answer.rcode}" + (f" ({answer.detail})" if answer.detail else "") for answer in tried)


class Resolver:
    """The configuration files are read once, when it is made."""

    def __init__(self, resolv_conf: str = "/etc/resolv.conf", hosts: str = "/etc/hosts") -> None:
        self.servers: list[str] = []
        self.search: list[str] = []
        self.ndots = 1
        self.port = 53
        self.hosts: dict[str, str] = {}
        for words in _lines(resolv_conf):
            if words[0] == "nameserver" and len(words) > 1 and ":" not in words[1]:
                self.servers.append(words[1])
            elif words[0] in ("search", "domain"):
                self.search = [domain.rstrip(".") for domain in words[1:]]
            elif words[0] == "options":
                for option in words[1:]:
                    if option.startswith("ndots:") and option[6:].isdecimal():
                        self.ndots = min(int(option[6:]), 15)
        self.servers = self.servers[:3] or ["127.0.0.1"]  # MAXNS, and the default of resolv.conf(5)
        for words in _lines(hosts):
            for name in words[1:]:
                if ":" not in words[0]:
                    self.hosts.setdefault(name.lower(), words[0])

    def candidates(self, name: str) -> list[str]:
        """Full names to try, in order: a name with fewer than ndots dots goes through the search list first."""
        if name.endswith("."):
            return [name.rstrip(".")]
        searched = [f"{name}.{domain}" for domain in self.search if domain]
        return [name, *searched] if name.count(".") >= self.ndots else [*searched, name]

    def lookup(self, name: str, kind: str, timeout: float,
               server: Optional[str] = None) -> Generator[Wait, bool, Answer]:
        """Asks `server`, or the machine's own, for at most `timeout` seconds per full name; raises DnsFailure.

        A server that refuses a candidate is not in charge of it, so REFUSED does not outweigh an NXDOMAIN for another
        candidate; a timeout or a SERVFAIL does: the name might exist.
        """
        if kind == "PTR" and is_address(name):
            name = ".".join(reversed(name.split("."))) + ".in-addr.arpa."
        if kind == "A" and server is None and (address := self.hosts.get(name.rstrip(".").lower())):
            return Answer(name, "NOERROR", None, [address], None, "/etc/hosts")
        tried: list[Answer] = []
        for full in self.candidates(name):
            answer = yield from self.ask_any(full, kind, timeout, [server] if server else self.servers)
            if answer.data:
                return answer
            tried.append(answer)
        rcodes = {answer.rcode for answer in tried}
        missing = bool(rcodes & set(NXDOMAIN_LIKE)) and rcodes <= {*NXDOMAIN_LIKE, "REFUSED"}
        raise DnsFailure("dns-nxdomain" if missing else "dns-error", tried)

    def ask_any(self, name: str, kind: str, timeout: float, servers: list[str]) -> Generator[Wait, bool, Answer]:
        """The first decisive answer of the servers, which share the time."""
        answer = None
        for server in servers:
            deadline = time.monotonic() + timeout / len(servers)
            try:
                answer = yield from ask(name, kind, deadline, server, self.port)
            except OSError as error:
                answer = Answer(name, "ERROR", server, [], None, f"{server}: {os.strerror(error.errno or 0)}")
            except ValueError as error:
                answer = Answer(name, "ERROR", server, [], None, f"{server}: {error}")
            if answer.rcode == "NOERROR" or answer.rcode in NXDOMAIN_LIKE:
                break
        assert answer is not None  # there is always a server
        return answer


def ask(name: str, kind: str, deadline: float, server: str, port: int) -> Generator[Wait, bool, Answer]:
    """One question to one server: over UDP, and over TCP when the answer was too long for a datagram."""
    query = encode_query(name, TYPES[kind])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((server, port))
        sock.send(query)
        while True:
            if not (yield Wait(sock, selectors.EVENT_READ, deadline)):
                return Answer(name, "TIMEOUT", server, [], None, f"{server} did not answer")
            reply = sock.recv(65535)
            if reply[:2] == query[:2]:
                break
    if len(reply) > 2 and reply[2] & 2:  # TC: truncated
        overlong = yield from ask_tcp(query, deadline, server, port)
        if overlong is None:
            return Answer(name, "TIMEOUT", server, [], None, f"{server} did not answer over TCP")
        reply = overlong
    return decode_reply(reply, name, kind, server)


def ask_tcp(query: bytes, deadline: float, server: str, port: int) -> Generator[Wait, bool, Optional[bytes]]:
    """The same over TCP, where a length goes before the message; None when the time is up."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.connect_ex((server, port))
        if not (yield Wait(sock, selectors.EVENT_WRITE, deadline)):
            return None
        sock.send(struct.pack("!H", len(query)) + query)
        data = b""
        while len(data) < 2 or len(data) < 2 + struct.unpack_from("!H", data)[0]:
            if not (yield Wait(sock, selectors.EVENT_READ, deadline)):
                return None
            chunk = sock.recv(65535)
            if not chunk:
                raise ValueError("closed the connection before its answer")
            data += chunk
        return data[2:]


def encode_query(name: str, kind: int) -> bytes:
    """A question with a random id and recursion desired; ValueError for what is no domain name."""
    labels = [label.encode("ascii") for label in name.split(".")]
    if not all(0 < len(label) < 64 for label in labels) or len(name) > 253:
        raise ValueError(f"not a domain name: {name!r}")
    question = b"".join(bytes([len(label)]) + label for label in labels) + struct.pack("!BHH", 0, kind, 1)
    return os.urandom(2) + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + question


def decode_reply(message: bytes, name: str, kind: str, server: str) -> Answer:
    """The records of the wanted type in the answer section, behind whatever CNAME; ValueError for garbage."""
    try:
        _id, flags, questions, answers, _, _ = struct.unpack_from("!6H", message)
        if not flags & 0x8000:
            raise ValueError("not a reply")
        rcode = RCODES.get(flags & 15, str(flags & 15))
        at = 12
        for _ in range(questions):
            at = _read_name(message, at)[1] + 4
        data, ttls = [], []
        for _ in range(answers):
            at = _read_name(message, at)[1]
            found, _class, ttl, length = struct.unpack_from("!HHIH", message, at)
            at += 10
            if found == TYPES[kind]:
                data.append(_read_data(message, at, kind))
                ttls.append(ttl)
            at += length
    except (struct.error, IndexError) as error:
        raise ValueError(f"malformed reply: {error}") from None
    if rcode == "NOERROR" and not data:
        rcode = "NODATA"
    return Answer(name, rcode, server, sorted(data), min(ttls, default=None))


def _read_data(message: bytes, at: int, kind: str) -> str:
    if kind == "A":
        return socket.inet_ntoa(message[at:at + 4])
    if kind in ("CNAME", "PTR"):
        return _read_name(message, at)[0]
    priority, weight, port = struct.unpack_from("!3H", message, at)
    return f"{priority} {weight} {port} {_read_name(message, at + 6)[0]}"


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    """A possibly compressed name and the offset behind it."""
    labels: list[str] = []
    end: Optional[int] = None
    for _ in range(MAX_POINTERS * 2):
        length = message[at]
        if length & 0xC0:
            end = end or at + 2
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
        elif length:
            labels.append(message[at + 1:at + 1 + length].decode("ascii", "backslashreplace").lower())
            at += 1 + length
        else:
            return ".".join(labels), end or at + 1
    raise ValueError("malformed reply: endless name")


def _lines(path: str) -> list[list[str]]:
    """The words of each line of a configuration file, comments dropped; no file is an empty file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [words for line in file if (words := line.split("#")[0].split(";")[0].split())]
    except FileNotFoundError:
        return []
