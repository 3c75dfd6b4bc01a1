"""echo/echo_server.py as a client sees it."""
import re
import socket
import struct
import time
import unittest

from support import Program

HEADER = re.compile(
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d UTC \d{4}\n"
    rb"Server: ([\d.]+):(\d+)\nClient: ([\d.]+):(\d+)\n\n")


def start(protocol: str) -> tuple[Program, int]:
    """A server on a free port."""
    program = Program("echo/echo_server.py", protocol, "0")
    return program, int(program.line("listening").rsplit(":", 1)[1])


def read_exactly(sock: socket.socket, count: int) -> bytes:
    """That many bytes, or fewer when the peer ends."""
    data = b""
    while len(data) < count and (chunk := sock.recv(count - len(data))):
        data += chunk
    return data


class Header(unittest.TestCase):
    def test_is_what_date_prints_with_a_space_before_a_one_digit_day(self) -> None:
        import echo_server
        real = time.gmtime
        try:
            time.gmtime = lambda *_: real(1685903844)
            header = echo_server.header(("10.255.18.158", 1234), ("10.255.153.116", 35953))
        finally:
            time.gmtime = real
        self.assertEqual(header, b"Sun Jun  4 18:37:24 UTC 2023\nServer: 10.255.18.158:1234\n"
                                 b"Client: 10.255.153.116:35953\n\n")


class Tcp(unittest.TestCase):
    def setUp(self) -> None:
        self.program, self.port = start("tcp")
        self.addCleanup(self.program.__exit__)

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_connection((address, self.port), 5)
        self.addCleanup(sock.close)
        return sock

    def header(self, sock: socket.socket) -> re.Match[bytes]:
        data = b""
        while not data.endswith(b"\n\n"):
            data += sock.recv(1)
        match = HEADER.fullmatch(data)
        assert match, data
        return match

    def test_sends_the_header_unasked_and_echoes_until_eof(self) -> None:
        sock = self.connect("127.0.0.3")
        server, port, client, client_port = self.header(sock).groups()
        self.assertEqual((server, int(port)), (b"127.0.0.3", self.port))
        self.assertEqual((client.decode(), int(client_port)), sock.getsockname())
        for text in (b"Test1\n", b"no newline", b"\x00\xff\n"):
            sock.sendall(text)
            self.assertEqual(read_exactly(sock, len(text)), text)
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(sock.recv(1), b"")

    def test_serves_many_at_once(self) -> None:
        socks = [self.connect() for _ in range(300)]
        for number, sock in enumerate(socks):
            sock.sendall(b"%d\n" % number)
        for number, sock in reversed(list(enumerate(socks))):
            self.header(sock)
            expected = b"%d\n" % number
            self.assertEqual(read_exactly(sock, len(expected)), expected)

    def test_gives_back_all_of_a_large_payload_to_a_slow_reader(self) -> None:
        sock = self.connect()
        self.header(sock)
        payload = bytes(range(256)) * 16384  # 4 MiB, more than the sockets and the server buffer
        sock.settimeout(0.2)
        sent = 0
        try:
            while sent < len(payload):
                sent += sock.send(payload[sent:sent + 65536])
        except TimeoutError:
            pass
        self.assertLess(sent, 64 << 20)
        sock.settimeout(5)
        self.assertEqual(read_exactly(sock, sent), payload[:sent])

    def test_survives_resets(self) -> None:
        for _ in range(20):
            sock = self.connect()
            sock.sendall(b"x" * 100_000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        self.assertTrue(self.header(self.connect()))

    def test_logs_one_escaped_line_per_connection_with_its_first_line(self) -> None:
        sock = self.connect()
        self.header(sock)
        sock.sendall(b"nonce-42 \x1b\xe9\nsecond\n")
        line = self.program.line("nonce-42")
        self.assertRegex(line, r'^\d{4}-\d\d-\d\dT[\d:.]+Z tcp server=127\.0\.0\.1:\d+ client=127\.0\.0\.1:\d+ '
                               r'first="nonce-42 \\x1b\\xe9"$')
        self.connect().close()
        self.assertIn('first=""', self.program.line("tcp server"))

    def test_ends_at_once_on_sigterm_with_connections_open(self) -> None:
        self.header(self.connect())
        self.assertEqual(self.program.stop(1.0), 0)
        self.program.line("stopped by SIGTERM")
        self.assertEqual(self.program.stderr(), "")

    def test_goes_on_after_running_out_of_file_descriptors(self) -> None:
        import resource
        resource.prlimit(self.program.process.pid, resource.RLIMIT_NOFILE, (12, 12))
        socks = [self.connect() for _ in range(20)]
        self.program.line("paused: Too many open files")
        for sock in socks:
            sock.close()
        self.header(self.connect())


class Udp(unittest.TestCase):
    def setUp(self) -> None:
        self.program, self.port = start("udp")
        self.addCleanup(self.program.__exit__)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(5)
        self.addCleanup(self.sock.close)

    def test_replies_with_one_datagram_from_the_address_it_was_asked_at(self) -> None:
        for address in ("127.0.0.1", "127.0.0.9"):
            self.sock.sendto(b"hello\n", (address, self.port))
            data, source = self.sock.recvfrom(65535)
            self.assertEqual(source, (address, self.port))
            match = HEADER.match(data)
            assert match, data
            self.assertEqual(match[1].decode(), address)
            self.assertEqual(int(match[4]), self.sock.getsockname()[1])
            self.assertEqual(data[match.end():], b"hello\n")

    def test_answers_empty_and_largest_datagrams(self) -> None:
        for payload in (b"", b"x" * 65507):
            self.sock.sendto(payload, ("127.0.0.1", self.port))
            data = self.sock.recv(65535)
            match = HEADER.match(data)
            assert match, data
            self.assertEqual(data[match.end():], payload[:65507 - match.end()])

    def test_answers_with_as_many_bytes_as_it_got_where_it_is_asked_to(self) -> None:
        for line, is_cut in ((b"nonce same-size", True), (b"nonce  same-sized", False)):
            self.sock.sendto(line + b"\n" + b"x" * 1000, ("127.0.0.1", self.port))
            data = self.sock.recv(65535)
            match = HEADER.match(data)
            assert match, data
            self.assertTrue(data[match.end():].startswith(line + b"\nx"))
            self.assertEqual(len(data), len(line) + 1001 + (0 if is_cut else match.end()))

    def test_logs_the_first_line_and_ends_on_sigterm(self) -> None:
        self.sock.sendto(b"nonce-7\nmore", ("127.0.0.1", self.port))
        self.assertTrue(self.program.line("nonce-7").endswith('first="nonce-7"'))
        self.assertEqual(self.program.stop(1.0), 0)


class Usage(unittest.TestCase):
    def test_bad_arguments_exit_with_2_and_a_busy_port_with_1(self) -> None:
        for arguments in ((), ("tcp",), ("sctp", "1"), ("tcp", "x"), ("udp", "65536")):
            with Program("echo/echo_server.py", *arguments) as program:
                self.assertEqual(program.process.wait(5), 2)
                self.assertIn("usage:", program.stderr())
        first, port = start("tcp")
        with first, Program("echo/echo_server.py", "tcp", str(port)) as second:
            self.assertEqual(second.process.wait(5), 1)
            self.assertIn(f"tcp port {port}: ", second.stderr())
