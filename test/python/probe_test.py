"""probe/probe.py as its caller sees it: documents in, lines out, against real and misbehaving servers on loopback."""
import contextlib
import json
import resource
import socket
import subprocess
import sys
import threading
import time
import unittest
from typing import Any, Callable

from support import ROOT, Program, free_port, probe_one, run_probe


class WithEcho(unittest.TestCase):
    """One echo server per protocol."""

    def setUp(self) -> None:
        self.ports = {}
        for protocol in ("tcp", "udp"):
            program = Program("echo/echo_server.py", protocol, "0")
            self.addCleanup(program.__exit__)
            self.ports[protocol] = int(program.line("listening").rsplit(":", 1)[1])
            setattr(self, protocol, program)

    def cell(self, name: str, protocol: str, host: str = "127.0.0.1") -> dict[str, Any]:
        return {"id": name, "protocol": protocol, "host": host, "port": self.ports[protocol]}


class Outcomes(WithEcho):
    def test_ok_tells_both_ends_and_leaves_its_nonce_in_the_servers_log(self) -> None:
        for protocol in ("tcp", "udp"):
            with self.subTest(protocol):
                cell = self.cell("x", protocol, "127.0.0.4")
                del cell["id"]
                result = probe_one(**cell)
                local = {key: result.pop(key) for key in ("localAddress", "localPort", "nonce", "rttMs", "connectMs")}
                self.assertEqual(result, {
                    "id": "x", "outcome": "ok", "server": "127.0.0.4", "serverPort": self.ports[protocol],
                    "client": "127.0.0.1", "clientPort": local["localPort"], "attempts": 1, "errno": None,
                    "address": "127.0.0.4", "detail": None, "fullSize": None, "status": None})
                self.assertEqual(local["localAddress"], "127.0.0.1")
                self.assertGreater(local["rttMs"], 0)
                self.assertEqual(local["connectMs"] is None, protocol == "udp")
                getattr(self, protocol).line(local["nonce"])

    def test_the_source_port_can_be_fixed(self) -> None:
        for protocol, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
            cell = {"protocol": protocol, "host": "127.0.0.1", "port": self.ports[protocol]}
            port = free_port(kind)
            self.assertEqual(probe_one(**cell, sourcePort=port)["localPort"], port)
            with socket.socket(socket.AF_INET, kind) as taken:
                taken.bind(("0.0.0.0", 0))
                port = taken.getsockname()[1]
                result = probe_one(**cell, sourcePort=port)
            self.assertEqual(result["outcome"], "harness-error")
            self.assertIn(f"source port {port}: Address already in use", result["detail"])

    def test_nobody_listens_is_refused(self) -> None:
        for protocol, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
            result = probe_one(protocol=protocol, host="127.0.0.1", port=free_port(kind))
            self.assertEqual((result["outcome"], result["errno"]), ("refused", "ECONNREFUSED"))

    def test_a_name_from_etc_hosts_is_resolved(self) -> None:
        result = probe_one(protocol="tcp", host="localhost", port=self.ports["tcp"])
        self.assertEqual((result["outcome"], result["address"]), ("ok", "127.0.0.1"))

    def test_300_cells_at_once_need_one_timeout_and_little_cpu(self) -> None:
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent.bind(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        cells = [self.cell(f"{protocol}{i}", protocol) for i in range(100) for protocol in ("tcp", "udp")]
        cells += [{"id": f"silent{i}", "protocol": "udp", "host": "127.0.0.1", "port": silent.getsockname()[1]}
                  for i in range(100)]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        code, lines = run_probe({"timeoutMs": 1000, "cells": cells})
        took, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual((code, lines[-1]), (0, {"done": True, "count": 300}))
        outcomes = {line["id"]: line["outcome"] for line in lines[:-1]}
        self.assertEqual(outcomes, {cell["id"]: "timeout" if "silent" in cell["id"] else "ok" for cell in cells})
        self.assertLess(took, 3)
        self.assertLess(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1.5)

    def test_few_file_descriptors_or_little_concurrency_only_make_it_slower(self) -> None:
        cells = [self.cell(f"{protocol}{i}", protocol) for i in range(50) for protocol in ("tcp", "udp")]
        for job, prefix in (({"cells": cells}, ("prlimit", "--nofile=40")), ({"cells": cells, "concurrency": 1}, ())):
            _, lines = run_probe(job, prefix)
            self.assertEqual({line["outcome"] for line in lines[:-1]}, {"ok"})

    def test_results_are_streamed_as_they_come(self) -> None:
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        process = subprocess.Popen([sys.executable, "-B", str(ROOT / "probe/probe.py")], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        assert process.stdin and process.stdout
        with process:
            process.stdin.write(json.dumps({"timeoutMs": 5000, "cells": [
                {"id": "slow", "protocol": "tcp", "host": "127.0.0.1", "port": silent.getsockname()[1]},
                self.cell("fast", "tcp")]}))
            process.stdin.close()
            started = time.monotonic()
            self.assertEqual(json.loads(process.stdout.readline())["id"], "fast")
            self.assertLess(time.monotonic() - started, 4)
            process.terminate()


class Misbehaviour(unittest.TestCase):
    """Servers that are no echo servers."""

    def tcp(self, serve: Callable[[socket.socket], None], **cell: Any) -> dict[str, Any]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def run() -> None:
                sock, _ = listener.accept()
                with sock:
                    serve(sock)
            threading.Thread(target=run, daemon=True).start()
            return probe_one(protocol="tcp", host="127.0.0.1", port=listener.getsockname()[1], **cell)

    def udp(self, serve: Callable[[socket.socket, bytes, Any], None], **cell: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))

            def run() -> None:
                while True:
                    serve(sock, *sock.recvfrom(512))
            threading.Thread(target=run, daemon=True).start()
            return probe_one(protocol="udp", host="127.0.0.1", port=sock.getsockname()[1], **cell)

    HEADER = b"date\nServer: 10.0.0.1:1234\nClient: 10.0.0.2:5\n\n"

    def assert_outcome(self, result: dict[str, Any], outcome: str, detail: str) -> None:
        self.assertEqual(result["outcome"], outcome, result)
        self.assertIn(detail, result["detail"])

    def test_a_web_server_is_asked_and_its_status_told(self) -> None:
        asked = []

        def serve(sock: socket.socket) -> None:
            asked.append(sock.recv(512))
            sock.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nabc")
        result = self.tcp(serve, talk="http")
        self.assertEqual((result["outcome"], result["status"], result["nonce"]), ("ok", 503, None))
        self.assertTrue(asked[0].startswith(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"), asked)
        self.assert_outcome(self.tcp(lambda sock: sock.sendall(b"SSH-2.0-x\r\n"), talk="http"),
                            "corrupt", "not the status line")
        self.assert_outcome(self.tcp(lambda sock: time.sleep(1), talk="http"), "timeout", "the status line did not come")

    def test_of_an_unknown_application_a_connection_or_any_answer_is_ok(self) -> None:
        result = self.tcp(lambda sock: None, talk="none")
        self.assertEqual((result["outcome"], result["server"]), ("ok", None))
        self.assertIsNotNone(result["localPort"])
        answered = self.udp(lambda sock, _data, client: sock.sendto(b"?", client), talk="none")
        self.assertEqual((answered["outcome"], answered["nonce"]), ("ok", None))
        self.assert_outcome(self.udp(lambda *_: None, talk="none"), "timeout", "no reply")

    def test_a_connection_closed_or_reset_before_the_header_is_corrupt(self) -> None:
        self.assert_outcome(self.tcp(lambda sock: None), "corrupt", "closed it before the header")

        def reset(sock: socket.socket) -> None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        result = self.tcp(reset)
        self.assert_outcome(result, "corrupt", "connected, then")
        self.assertEqual(result["errno"], "ECONNRESET")

    def test_silence_after_the_connection_is_a_timeout_that_says_so(self) -> None:
        result = self.tcp(lambda sock: time.sleep(1))
        self.assert_outcome(result, "timeout", "connected, but the header did not come")
        self.assertIsNotNone(result["connectMs"])

    def test_another_protocol_is_corrupt(self) -> None:
        for greeting in (b"HTTP/1.1 400 Bad Request\r\n\n\n", b"a\nb\nc\n\n", b"date\nServer: x:1\nClient: y:2\n\n",
                         b"\xff\n\n", b"z" * 5000):
            with self.subTest(greeting[:30]):
                self.assertEqual(self.tcp(lambda sock: sock.sendall(greeting))["outcome"], "corrupt")

    def test_a_changed_echo_is_corrupt_but_names_the_server(self) -> None:
        def serve(sock: socket.socket) -> None:
            sock.sendall(self.HEADER)
            sock.recv(100)
            sock.sendall(b"another line\n")
        result = self.tcp(serve)
        self.assert_outcome(result, "corrupt", "got back")
        self.assertEqual((result["server"], result["serverPort"]), ("10.0.0.1", 1234))

    def test_an_echo_that_ends_or_changes_in_the_middle_carries_no_full_size_packets(self) -> None:
        def serve(answer: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
            def run(sock: socket.socket) -> None:
                sock.sendall(self.HEADER)
                sock.sendall(sock.recv(100))
                data = b""
                while len(data) < 65536:
                    data += sock.recv(65536)
                sock.sendall(answer(data))
            return run
        for answer, what in ((lambda data: data[:1000], "the peer closed the connection after 1000 of 65536 bytes"),
                             (lambda data: data[:999] + bytes(1) + data[1000:], "something else came back after ")):
            result = self.tcp(serve(answer), fullSize=True)
            self.assertEqual((result["outcome"], result["fullSize"]["lost"]), ("ok", "somewhere"))
            self.assertIn(what, result["fullSize"]["detail"])

    def test_a_server_that_reads_all_and_sends_nothing_back_loses_it_on_the_way_back(self) -> None:
        def serve(sock: socket.socket) -> None:
            sock.sendall(self.HEADER)
            sock.sendall(sock.recv(100))
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(65536):
                    pass
        result = self.tcp(serve, fullSize=True)
        self.assertEqual((result["outcome"], result["fullSize"]["lost"]), ("ok", "back"))
        self.assertIn("of 65536 bytes 65536 arrived and 0 came back", result["fullSize"]["detail"])

    def test_a_datagram_without_our_nonce_is_corrupt(self) -> None:
        result = self.udp(lambda sock, data, client: sock.sendto(self.HEADER + b"other\n", client))
        self.assert_outcome(result, "corrupt", "got back b'other\\n'")
        result = self.udp(lambda sock, data, client: sock.sendto(b"hi", client))
        self.assert_outcome(result, "corrupt", "not an echo header")

    def test_a_reply_from_another_address_is_corrupt(self) -> None:
        def serve(sock: socket.socket, data: bytes, client: Any) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind(("127.0.0.77", 0))
                other.sendto(self.HEADER + data, client)
        self.assert_outcome(self.udp(serve), "corrupt", "came from 127.0.0.77")

    def test_tries_count_and_use_fresh_ports(self) -> None:
        clients: list[Any] = []

        def serve(sock: socket.socket, data: bytes, client: Any) -> None:
            clients.append(client)
            if len(clients) == 3:
                sock.sendto(self.HEADER + data, client)
        result = self.udp(serve, tries=5, timeout_ms=600)
        self.assertEqual((result["outcome"], result["attempts"], result["detail"]), ("ok", 3, None))
        self.assertEqual(len(set(clients)), 3)
        clients.clear()
        self.assertEqual(self.udp(serve, tries=2, timeout_ms=150)["attempts"], 2)


class BadInput(unittest.TestCase):
    def test_says_what_is_wrong_and_exits_with_2(self) -> None:
        cell = {"id": "a", "protocol": "tcp", "host": "h", "port": 1}
        for job, message in (
            ("", "Expecting value"), ("[]", "job is no object"), ('{"cells":{}}', "job.cells cannot be {}"),
            ({"cell": []}, "job.cell is unknown"), ({"timeoutMs": 0}, "job.timeoutMs cannot be 0"),
            ({"timeoutMs": True}, "job.timeoutMs cannot be true"), ({"cells": [3]}, "cells[0] is no object"),
            ({"cells": [{**cell, "port": 65536}]}, "cells[0].port cannot be 65536"),
            ({"cells": [{**cell, "protocol": "sctp"}]}, "cells[0].protocol"),
            ({"cells": [{**cell, "protocol": []}]}, "cells[0].protocol"),
            ({"cells": [{"id": "a"}]}, "cells[0].protocol is missing"),
            ({"cells": [cell, cell]}, "id 'a' is used twice"),
            ({"dns": [{"id": "a", "name": "x", "type": "MX"}]}, "dns[0].type"),
            ({"dns": [{"id": "a", "name": "x", "type": "A", "server": "dns"}]}, "dns[0].server"),
        ):
            with self.subTest(message):
                code, lines = run_probe(job)
                self.assertEqual(code, 2)
                self.assertEqual([list(line) for line in lines], [["error"]])
                self.assertIn(message, lines[0]["error"])

    def test_an_empty_job_is_done_at_once(self) -> None:
        self.assertEqual(run_probe({}), (0, [{"done": True, "count": 0}]))

    def test_a_broken_cell_costs_only_itself(self) -> None:
        import scheduler
        done: list[Any] = []
        broken: list[Any] = []

        def good() -> Any:
            return "fine"
            yield

        def bad() -> Any:
            raise RuntimeError("oops")
            yield
        scheduler.Scheduler(1, done.append, lambda name, error: broken.append((name, str(error)))).run(
            [("a", bad()), ("b", good())])
        self.assertEqual((done, broken), (["fine"], [("a", "oops")]))
