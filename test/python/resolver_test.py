"""probe/resolver.py: messages, search rules, and what each kind of silence means."""
import socket
import struct
import tempfile
import threading
import unittest
from typing import Any, Optional

from resolver import Answer, DnsFailure, Resolver, decode_reply, encode_query
from scheduler import Scheduler


def configured(resolv_conf: str, hosts: str = "") -> Resolver:
    """A resolver that reads these files."""
    with tempfile.NamedTemporaryFile("w") as conf, tempfile.NamedTemporaryFile("w") as names:
        conf.write(resolv_conf)
        names.write(hosts)
        conf.flush()
        names.flush()
        return Resolver(conf.name, names.name)


class StandInServer:
    """A stand-in DNS server on 127.0.0.1 with a table of name -> rcode or addresses; None means silence."""

    def __init__(self, table: dict[str, Any], truncate: bool = False) -> None:
        self.table, self.asked, self.truncate = table, [], truncate
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def reply(self, query: bytes, truncated: bool) -> Optional[bytes]:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        name = ".".join(labels)
        self.asked.append(name)
        found = self.table.get(name, 3)
        if found is None:
            return None
        addresses = [] if isinstance(found, int) or truncated else found
        flags = 0x8180 | (found if isinstance(found, int) else 0) | (0x0200 if truncated else 0)
        # 0xC00C points back to the name in the question.
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + socket.inet_aton(a) for a in addresses)
        return query[:2] + struct.pack("!5H", flags, 1, len(addresses), 0, 0) + query[12:at + 5] + records

    def serve_udp(self) -> None:
        while True:
            query, client = self.udp.recvfrom(512)
            if reply := self.reply(query, self.truncate):
                self.udp.sendto(reply, client)

    def serve_tcp(self) -> None:
        while True:
            sock, _ = self.tcp.accept()
            with sock:
                reply = self.reply(sock.recv(512)[2:], False) or b""
                message = struct.pack("!H", len(reply)) + reply
                sock.sendall(message[:5])
                sock.sendall(message[5:])


def lookup(resolver: Resolver, name: str, kind: str = "A", server: Optional[str] = None) -> Any:
    """The Answer, or the DnsFailure."""
    results: list[Any] = []
    task = resolver.lookup(name, kind, 0.2, server)
    Scheduler(10, results.append, lambda _, error: results.append(error)).run([(name, task)])
    return results[0]


class Configuration(unittest.TestCase):
    def test_reads_what_resolv_conf_says(self) -> None:
        resolver = configured("# c\nsearch a.b. c.d\nnameserver 10.96.0.10 ; dns\nnameserver ::1\noptions ndots:5 x\n")
        self.assertEqual((resolver.servers, resolver.search, resolver.ndots), (["10.96.0.10"], ["a.b", "c.d"], 5))

    def test_without_files_asks_the_local_host(self) -> None:
        resolver = Resolver("/nonexistent", "/nonexistent")
        self.assertEqual((resolver.servers, resolver.search, resolver.ndots), (["127.0.0.1"], [], 1))

    def test_candidates_follow_ndots(self) -> None:
        resolver = configured("search a.b c\noptions ndots:2\n")
        self.assertEqual(resolver.candidates("x.y"), ["x.y.a.b", "x.y.c", "x.y"])
        self.assertEqual(resolver.candidates("x.y.z"), ["x.y.z", "x.y.z.a.b", "x.y.z.c"])
        self.assertEqual(resolver.candidates("x.y."), ["x.y"])


class Lookup(unittest.TestCase):
    def resolver(self, table: dict[str, Any], conf: str = "nameserver 127.0.0.1\n", truncate: bool = False,
                 hosts: str = "") -> Resolver:
        self.server = StandInServer(table, truncate)
        resolver = configured(conf, hosts)
        resolver.port = self.server.port
        return resolver

    def test_finds_a_name_through_the_search_list(self) -> None:
        resolver = self.resolver({"s.headless.ns.svc.z": ["10.0.0.2", "10.0.0.1"]},
                                 "search ns.svc.z svc.z\nnameserver 127.0.0.1\noptions ndots:5\n")
        self.assertEqual(lookup(resolver, "s.headless"),
                         Answer("s.headless.ns.svc.z", "NOERROR", "127.0.0.1", ["10.0.0.1", "10.0.0.2"], 5))

    def test_asks_over_tcp_when_the_answer_was_truncated(self) -> None:
        many = sorted(f"10.0.{high}.{low}" for high in range(2) for low in range(100))
        resolver = self.resolver({"big.z": many}, truncate=True)
        self.assertEqual(lookup(resolver, "big.z").data, many)
        self.assertEqual(self.server.asked, ["big.z", "big.z"])

    def test_etc_hosts_comes_first_but_not_when_a_server_is_named(self) -> None:
        resolver = self.resolver({"web": ["10.0.0.1"]}, hosts="127.0.0.1 localhost\n10.9.9.9 WEB other # x\n")
        self.assertEqual(lookup(resolver, "web").data, ["10.9.9.9"])
        self.assertEqual(self.server.asked, [])
        self.assertEqual(lookup(resolver, "web", server="127.0.0.1").data, ["10.0.0.1"])

    def test_tells_missing_from_unknown(self) -> None:
        table = {"nodata.z": [], "servfail.z": 2, "refused": 5, "missing": 5, "broken": 2, "silent.z": None}
        search = "search z\nnameserver 127.0.0.1\n"
        for name, outcome, rcode in (
            ("nx.z.", "dns-nxdomain", "NXDOMAIN"),
            ("nodata.z.", "dns-nxdomain", "NODATA"),
            ("servfail.z.", "dns-error", "SERVFAIL"),
            ("refused.", "dns-error", "REFUSED"),
            ("silent.z.", "dns-error", "TIMEOUT"),
            ("missing", "dns-nxdomain", "NXDOMAIN"),  # missing.z does not exist, and missing is not the server's
            ("broken", "dns-error", "SERVFAIL"),  # broken.z does not exist, but broken might
        ):
            with self.subTest(name):
                failure = lookup(self.resolver(table, search), name)
                self.assertIsInstance(failure, DnsFailure)
                self.assertEqual((failure.outcome, failure.rcode), (outcome, rcode))

    def test_goes_on_to_the_next_server_when_one_does_not_listen(self) -> None:
        resolver = self.resolver({"a.z": ["10.0.0.1"]}, "nameserver 127.0.0.2\nnameserver 127.0.0.1\n")
        self.assertEqual(lookup(resolver, "a.z").server, "127.0.0.1")

    def test_a_server_that_does_not_listen_is_an_error(self) -> None:
        failure = lookup(self.resolver({}, "nameserver 127.0.0.2\n"), "a.z")
        self.assertEqual((failure.outcome, failure.rcode), ("dns-error", "ERROR"))
        self.assertIn("Connection refused", failure.detail)

    def test_what_is_no_name_is_an_error(self) -> None:
        for name in ("a..b", "x" * 64 + ".z", "é.z"):
            self.assertEqual(lookup(self.resolver({}), name).outcome, "dns-error")

    def test_an_address_is_turned_around_for_ptr(self) -> None:
        resolver = self.resolver({})
        lookup(resolver, "10.255.0.3", "PTR")
        self.assertEqual(self.server.asked, ["3.0.255.10.in-addr.arpa"])


class Messages(unittest.TestCase):
    def reply(self, records: bytes, count: int, flags: int = 0x8180) -> bytes:
        return struct.pack("!6H", 7, flags, 1, count, 0, 0) + encode_query("a.z", 33)[12:] + records

    def test_reads_srv_with_a_compressed_target(self) -> None:
        data = struct.pack("!3H", 0, 100, 1234) + b"\x01S\xc0\x0c"
        record = b"\xc0\x0c" + struct.pack("!HHIH", 33, 1, 5, len(data)) + data
        self.assertEqual(decode_reply(self.reply(record, 1), "a.z", "SRV", "s").data, ["0 100 1234 s.a.z"])

    def test_garbage_is_a_value_error(self) -> None:
        loop = b"\xc0\x15"  # offset 21 is where this pointer itself is
        for message in (b"", b"\x00" * 11, self.reply(b"", 1), self.reply(loop + bytes(10), 1),
                        self.reply(b"", 0, flags=0x0100)):
            with self.subTest(message), self.assertRaises(ValueError):
                decode_reply(message, "a.z", "SRV", "s")
