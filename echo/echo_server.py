#!/usr/bin/python3
"""Echo server: tells a client where it landed and who it looks like, then echoes.

    echo_server.py tcp PORT     one connection = header, then every byte back until EOF
    echo_server.py udp PORT     one datagram   = one datagram back: header, then the payload; where the payload's first
                                line ends with " same-size", cut off to the size of the datagram

The header is three lines and an empty one:

    Sun Jun  4 18:37:24 UTC 2023
    Server: 10.255.77.140:1234
    Client: 10.255.77.143:37419

Standard output gets one line per connection or datagram, with the first line of the payload, so that a probe's
nonce can be searched in the logs. It runs as PID 1 of a container and needs only Debian's python3-minimal.
"""
import errno
import os
import selectors
import signal
import socket
import struct
import sys
import time
from typing import Any, Optional

CHUNK = 65536
PAUSE_READING_AT = 4 * CHUNK  # bytes waiting for a slow reader; above this its sender has to wait too
FIRST_LINE_MAX = 200  # bytes of the payload's first line that are logged
SAME_SIZE = b" same-size"
MAX_UDP_PAYLOAD = 65507  # 65535 - 20 (IPv4 header) - 8 (UDP header)
IP_PKTINFO = 8  # linux/in.h; the socket module has the name only since Python 3.12


def header(server: tuple[str, int], client: tuple[str, int]) -> bytes:
    """The three lines a client sees first, in the format of `date` in the C locale and UTC, and an empty line."""
    date = time.strftime("%a %b %e %H:%M:%S UTC %Y", time.gmtime())
    return f"{date}\nServer: {server[0]}:{server[1]}\nClient: {client[0]}:{client[1]}\n\n".encode()


def log(text: str) -> None:
    """One line on standard output, at once, in one write: print() may not be called by a handler that interrupts it."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    os.write(1, f"{stamp}.{int(now * 1000) % 1000:03d}Z {text}\n".encode())


def log_peer(protocol: str, server: tuple[str, int], client: tuple[str, int], payload: bytes, note: str = "") -> None:
    """One line per connection or datagram; the payload is escaped so that it stays one line.

    repr escapes it without importing a codec, which would fail when all file descriptors are in use.
    """
    shown = repr(payload.split(b"\n", 1)[0][:FIRST_LINE_MAX])[2:-1]
    log(f'{protocol} server={server[0]}:{server[1]} client={client[0]}:{client[1]} first="{shown}"{note}')


class Connection:
    """One TCP client: what it still has to be sent, and the first line it sent us."""

    def __init__(self, sock: socket.socket, client: tuple[str, int]) -> None:
        self.sock = sock
        self.client = client
        self.server: tuple[str, int] = sock.getsockname()[:2]
        self.out = bytearray(header(self.server, client))
        self.first = bytearray()
        self.logged = False
        self.eof = False

    def note_first_line(self, data: bytes, note: str = "", last: bool = False) -> None:
        """Logs the connection once: when its first line is complete (or long), at the latest when it ends."""
        if self.logged:
            return
        self.first += data[: FIRST_LINE_MAX + 1]
        if last or b"\n" in self.first or len(self.first) > FIRST_LINE_MAX:
            self.logged = True
            log_peer("tcp", self.server, self.client, bytes(self.first), note)

    def pump(self) -> bool:
        """Reads and writes what is possible without waiting; False when the connection is over."""
        try:
            if not self.eof and len(self.out) < PAUSE_READING_AT:
                data = self.sock.recv(CHUNK)
                self.eof = not data
                self.note_first_line(data)
                self.out += data
        except BlockingIOError:
            pass  # nothing to read yet
        try:
            while self.out:
                del self.out[: self.sock.send(self.out)]
        except BlockingIOError:
            pass  # the peer's window is full: the selector says when to go on
        return bool(self.out) or not self.eof

    def wants(self) -> int:
        """Selector events to wait for; never 0, because pump() returned True."""
        reading = not self.eof and len(self.out) < PAUSE_READING_AT
        return (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if self.out else 0)


class TcpServer:
    """All connections in one thread; a reset, or running out of file descriptors, never ends the server."""

    def __init__(self, port: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("0.0.0.0", port), backlog=1024)
        self.listener.setblocking(False)
        self.accepting = False
        self.listen(True)
        self.address: tuple[str, int] = self.listener.getsockname()[:2]

    def listen(self, on: bool) -> None:
        """Starts or stops taking new connections (the kernel's backlog keeps them meanwhile)."""
        if on and not self.accepting:
            self.selector.register(self.listener, selectors.EVENT_READ, None)
        elif self.accepting and not on:
            self.selector.unregister(self.listener)
        self.accepting = on

    def accept(self) -> None:
        """Takes every waiting connection."""
        while True:
            try:
                sock, client = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    log(f"tcp paused: {os.strerror(error.errno)}")
                    self.listen(False)
                    return
                continue  # accept(2): errors already pending on the new socket are passed here; try the next one
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a client that vanished must not stay for ever
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            try:
                connection = Connection(sock, client[:2])
            except OSError:  # reset between accept and getsockname
                sock.close()
                continue
            self.selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)

    def serve(self, connection: Connection) -> None:
        """Moves one connection on, or ends it."""
        note = ""
        try:
            alive = connection.pump()
        except OSError as error:
            alive, note = False, f" end={errno.errorcode.get(error.errno or 0, str(error))}"
        if alive:
            self.selector.modify(connection.sock, connection.wants(), connection)
            return
        connection.note_first_line(b"", note, last=True)
        self.selector.unregister(connection.sock)
        connection.sock.close()
        self.listen(True)

    def run(self) -> None:
        """Serves until a signal handler raises SystemExit."""
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    self.accept()
                else:
                    self.serve(key.data)


class UdpServer:
    """Answers each datagram from the address it was sent to, as conntrack expects behind a Service.

    A socket bound to 0.0.0.0 may otherwise answer from another address of a multi-address host, and NAT is then
    not undone: https://github.com/kubernetes/kubernetes/issues/95565. The address comes from IP_PKTINFO, ip(7).
    """

    def __init__(self, port: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.sock.bind(("0.0.0.0", port))
        self.address: tuple[str, int] = self.sock.getsockname()[:2]

    def run(self) -> None:
        """Serves until a signal handler raises SystemExit."""
        while True:
            try:
                self.answer(*self.sock.recvmsg(CHUNK, socket.CMSG_SPACE(12)))
            except OSError as error:
                log(f"udp error: {error}")

    def answer(self, payload: bytes, control: list[tuple[int, int, bytes]], _flags: int, client: Any) -> None:
        """Sends one datagram back; the end of a payload that leaves no room for the header is cut off."""
        info = next(data for level, kind, data in control if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO))
        _interface, local, _destination = struct.unpack("=I4s4s", info)
        server = (socket.inet_ntoa(local), self.address[1])
        is_same_size = payload.split(b"\n", 1)[0].endswith(SAME_SIZE)
        reply = (header(server, client) + payload)[:len(payload) if is_same_size else MAX_UDP_PAYLOAD]
        source = struct.pack("=I4s4s", 0, local, bytes(4))
        note = ""
        try:
            self.sock.sendmsg([reply], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, client)
        except OSError as error:
            note = f" end={errno.errorcode.get(error.errno or 0, str(error))}"
        log_peer("udp", server, client, payload, note)


def stop(number: int, _frame: Optional[object]) -> None:
    """PID 1 has no default signal actions (signal(7), pid_namespaces(7)): without a handler SIGTERM does nothing."""
    log(f"stopped by {signal.Signals(number).name}")
    sys.exit(0)


def main(arguments: list[str]) -> None:
    """Starts the server that the arguments name; exit code 2 when they make no sense."""
    if len(arguments) != 2 or arguments[0] not in ("tcp", "udp") or not arguments[1].isdecimal() \
            or int(arguments[1]) > 65535:
        print("usage: echo_server.py tcp|udp PORT", file=sys.stderr)
        sys.exit(2)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans of `kubectl exec` become children of PID 1: let them go
    try:
        server = (TcpServer if arguments[0] == "tcp" else UdpServer)(int(arguments[1]))
    except OSError as error:
        print(f"echo_server.py: {arguments[0]} port {arguments[1]}: {error}", file=sys.stderr)
        sys.exit(1)
    log(f"{arguments[0]} listening on {server.address[0]}:{server.address[1]}")
    server.run()


if __name__ == "__main__":
    main(sys.argv[1:])
