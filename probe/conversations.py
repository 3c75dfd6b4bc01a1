"""What the probe says to an echo server (echo/echo_server.py) over TCP and UDP, its ping, and what each failure means."""
import errno
import os
import re
import selectors
import socket
import struct
import time
from typing import Any, Callable, Generator, NamedTuple, Optional

from resolver import is_address
from scheduler import Task, Wait

IP_RECVERR = 11  # linux/in.h; the socket module of Python 3.11 does not have it
HEADER_END = b"\n\n"
HEADER_MAX = 512
DRAIN_MAX = 1 << 20
# EINVAL is what connect gives for a local blackhole route; EPERM comes from a local filter, EACCES from a prohibit
# route. The kernel turns ICMP codes into the others: icmp_err_convert in net/ipv4/icmp.c.
OUTCOMES = {
    errno.ECONNREFUSED: "refused", errno.ENOPROTOOPT: "refused",
    errno.ENETUNREACH: "no-route", errno.EINVAL: "no-route", errno.ENONET: "no-route",
    errno.EHOSTUNREACH: "host-unreachable", errno.EHOSTDOWN: "host-unreachable",
    errno.EACCES: "denied", errno.EPERM: "denied",
    errno.ETIMEDOUT: "timeout",
    errno.ECONNRESET: "corrupt", errno.EPIPE: "corrupt",  # only after the connection was accepted
}


class Failed(Exception):
    """An outcome other than ok, a sentence about it, and the errno behind it if there is one."""

    def __init__(self, outcome: str, detail: str, number: Optional[int] = None) -> None:
        super().__init__(detail)
        self.outcome, self.detail, self.errno = outcome, detail, number


def failed_with(number: int, during: str) -> Failed:
    """The outcome of an errno; one that no network causes (out of files, of ports ...) is the harness's own fault."""
    return Failed(OUTCOMES.get(number, "harness-error"), f"{during}: {os.strerror(number)}", number)


def milliseconds(seconds: float) -> float:
    """Rounded to a microsecond."""
    return round(seconds * 1000, 3)


def new_nonce() -> bytes:
    """A line that no other probe sends, to be found again in the reply and in the servers' logs."""
    return os.urandom(12).hex().encode()


def parse_header(data: bytes) -> dict[str, Any]:
    """Server and client of an echo header; Failed("corrupt") when it is none."""
    fields: dict[str, Any] = {}
    try:
        _date, server, client = data.decode("ascii").split("\n")
        for line, label, key in ((server, "Server: ", "server"), (client, "Client: ", "client")):
            address, port = line.removeprefix(label).rsplit(":", 1)
            if not line.startswith(label) or not is_address(address):
                raise ValueError(line)
            fields |= {key: address, key + "Port": int(port)}
    except ValueError:
        raise Failed("corrupt", f"not an echo header: {data[:80]!r}") from None
    return fields


def bind_source(sock: socket.socket, port: int) -> None:
    """Fixes the source port; 0 leaves it to the kernel. Failed("harness-error") where it is taken."""
    if port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("0.0.0.0", port))
        except OSError as error:
            raise failed_with(error.errno or 0, f"source port {port}") from None


# What is tried once the conversation was right, on its socket: full_size.py.
After = Callable[[socket.socket, str, int, float], Generator[Wait, bool, dict[str, Any]]]


def tcp(address: str, port: int, timeout: float, result: dict[str, Any], source_port: int = 0,
        after: Optional[After] = None) -> Task:
    """Connects, reads the header, sends a nonce line and wants the same line back. Fills `result`, raises Failed.

    `timeout` (seconds) is for the connection, and again for the conversation: a SYN that needed its retransmission
    leaves a slow server no time otherwise.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        connected = yield from connect(sock, address, port, timeout, result, source_port)
        header, rest = yield from read_until(sock, HEADER_END, connected + timeout, "the header")
        result |= parse_header(header)
        nonce = new_nonce()
        result["nonce"] = nonce.decode()
        started = time.monotonic()
        try:
            sock.send(nonce + b"\n")
        except OSError as error:
            raise failed_with(error.errno or 0, "connected, then sending the nonce") from None
        echoed, rest = yield from read_until(sock, b"\n", connected + timeout, "the echo", rest)
        if echoed != nonce or rest:
            raise Failed("corrupt", f"sent {nonce!r}, got back {(echoed + rest)[:80]!r}")
        result["rttMs"] = milliseconds(time.monotonic() - started)
        if after:
            result["fullSize"] = yield from after(sock, address, port, timeout)


def connect(sock: socket.socket, address: str, port: int, timeout: float, result: dict[str, Any],
            source_port: int) -> Generator[Wait, bool, float]:
    """Connects and says when it was connected; raises Failed."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bind_source(sock, source_port)
    started = time.monotonic()
    number = sock.connect_ex((address, port))
    note_local(sock, result)
    if number == errno.EINPROGRESS:
        if not (yield Wait(sock, selectors.EVENT_WRITE, started + timeout)):
            raise Failed("timeout", f"no answer to the connection request within {milliseconds(timeout):g} ms")
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:  # a reset while connecting is ECONNREFUSED, so ECONNRESET came right after
        raise failed_with(number, "connected, then" if number == errno.ECONNRESET else "connect")
    note_local(sock, result)
    connected = time.monotonic()
    result["connectMs"] = milliseconds(connected - started)
    return connected


def connect_only(address: str, port: int, timeout: float, result: dict[str, Any], source_port: int = 0,
                 _after: Optional[After] = None) -> Task:
    """Connects and says nothing: what the server does then is its own affair."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        yield from connect(sock, address, port, timeout, result, source_port)


def http(address: str, port: int, timeout: float, result: dict[str, Any], source_port: int = 0,
         _after: Optional[After] = None) -> Task:
    """Connects, asks GET / and wants a status line; `status` is its number."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        connected = yield from connect(sock, address, port, timeout, result, source_port)
        try:
            sock.send(f"GET / HTTP/1.1\r\nHost: {address}\r\nUser-Agent: labtest\r\nConnection: close\r\n\r\n".encode())
        except OSError as error:
            raise failed_with(error.errno or 0, "connected, then asking GET /") from None
        line, rest = yield from read_until(sock, b"\r\n", connected + timeout, "the status line")
        if not (match := re.fullmatch(rb"HTTP/\d\.\d (\d{3})(?: .*)?", line)):
            raise Failed("corrupt", f"not the status line of a web server: {line[:80]!r}")
        result["status"] = int(match[1])
        # Closed with unread data the connection is reset, and conntrack soon forgets it.
        left = DRAIN_MAX - len(rest)
        while left > 0 and (yield Wait(sock, selectors.EVENT_READ, connected + timeout)):
            try:
                chunk = sock.recv(65536)
            except OSError:
                break
            if not chunk:
                break
            left -= len(chunk)


def note_local(sock: socket.socket, result: dict[str, Any]) -> None:
    """Keeps the source the kernel chose, for whoever looks for the flow in a capture or in conntrack."""
    address, port = sock.getsockname()[:2]
    if address != "0.0.0.0":
        result |= {"localAddress": address, "localPort": port}


def read_until(sock: socket.socket, end: bytes, deadline: float, what: str,
               data: bytes = b"") -> Generator[Wait, bool, tuple[bytes, bytes]]:
    """The bytes before and after the first `end`; `data` is what had come before."""
    while end not in data:
        if len(data) > HEADER_MAX:
            raise Failed("corrupt", f"{what} does not end: {data[:80]!r}")
        if not (yield Wait(sock, selectors.EVENT_READ, deadline)):
            raise Failed("timeout", f"connected, but {what} did not come in time (got {data[:80]!r})")
        try:
            chunk = sock.recv(4096)
        except OSError as error:
            raise failed_with(error.errno or 0, f"connected, then reading {what}") from None
        if not chunk:
            raise Failed("corrupt", f"the peer accepted the connection and closed it before {what} (got {data[:80]!r})")
        data += chunk
    before, _, after = data.partition(end)
    return before, after


def datagram(address: str, port: int, timeout: float, result: dict[str, Any], source_port: int = 0,
             _after: Optional[After] = None) -> Task:
    """Sends one datagram to an application of which nothing is known: any reply from the address is right."""
    return udp(address, port, timeout, result, source_port, is_echo=False)


def udp(address: str, port: int, timeout: float, result: dict[str, Any], source_port: int = 0,
        after: Optional[After] = None, is_echo: bool = True) -> Task:
    """Sends one nonce from a fresh port (or the given one); the reply has to carry it and to come from the address that was probed.

    The socket is not connected, so that a reply from another address is seen and can be named; ICMP errors come from
    the socket's error queue (IP_RECVERR, ip(7)), without which a router's "unreachable" looks like silence.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        bind_source(sock, source_port)
        nonce = new_nonce()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as scout:  # connecting it only looks up the route
                scout.connect((address, port))
                result["localAddress"] = scout.getsockname()[0]
            started = time.monotonic()
            sock.sendto(nonce + b"\n", (address, port))
        except OSError as error:
            raise failed_with(error.errno or 0, "send") from None
        result |= {"localPort": sock.getsockname()[1], "nonce": nonce.decode() if is_echo else None}
        data, source = yield from receive(sock, started + timeout)
        rtt = milliseconds(time.monotonic() - started)
        if source != (address, port):
            raise Failed("corrupt", f"the reply came from {source[0]}:{source[1]}, not from {address}:{port}")
        if not is_echo:
            result["rttMs"] = rtt
            return
        header, _, payload = data.partition(HEADER_END)
        result |= parse_header(header)
        if payload != nonce + b"\n":
            raise Failed("corrupt", f"sent {nonce!r}, got back {payload[:80]!r}")
        result["rttMs"] = rtt
        if after:
            result["fullSize"] = yield from after(sock, address, port, timeout)


ECHO_REPLY, ECHO_REQUEST = 0, 8  # RFC 792


def icmp(address: str, _port: int, timeout: float, result: dict[str, Any], _source_port: int = 0,
         _after: Optional[After] = None) -> Task:
    """Sends one echo request with a nonce; the reply has to carry it and to come from the address that was probed.

    What a reply shows is who sent it, not which address the request had come from: there is no client address.
    """
    with icmp_socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        is_raw = sock.type == socket.SOCK_RAW
        nonce = new_nonce()
        try:
            if is_raw:
                sock.connect((address, 0))  # a raw socket gets the errors and replies of all others otherwise
            started = time.monotonic()
            sock.sendto(echo_request(nonce), (address, 0))
        except OSError as error:
            raise failed_with(error.errno or 0, "send") from None
        deadline = started + timeout
        while True:
            data, source = yield from receive(sock, deadline)
            message = data[(data[0] & 15) * 4:] if is_raw else data
            if message[:1] == bytes([ECHO_REPLY]) and message[8:] == nonce:
                break
        if source[0] != address:
            raise Failed("corrupt", f"the reply came from {source[0]}, not from {address}")
        result |= {"server": source[0], "rttMs": milliseconds(time.monotonic() - started)}


def icmp_socket() -> socket.socket:
    """The kernel's own ping socket, or where net.ipv4.ping_group_range does not allow it a raw one, icmp(7)."""
    try:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    except PermissionError:
        try:
            return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        except PermissionError as error:
            raise Failed("harness-error", f"may not send ICMP: {error.strerror}", error.errno) from None


def echo_request(payload: bytes) -> bytes:
    """An echo request. A ping socket sets identifier and checksum itself; a raw one sends what it gets."""
    head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, int.from_bytes(os.urandom(2), "big"), 1)
    words = head + payload + b"\0" * (len(payload) % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    total = (total & 0xffff) + (total >> 16)
    return head[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + head[4:] + payload


def receive(sock: socket.socket, deadline: float) -> Generator[Wait, bool, tuple[bytes, tuple[str, int]]]:
    """The first datagram and its sender."""
    while True:
        if not (yield Wait(sock, selectors.EVENT_READ, deadline)):
            raise Failed("timeout", "no reply in time")
        raise_queued_error(sock)
        try:
            return sock.recvfrom(65535)
        except BlockingIOError:
            continue  # select(2): a datagram with a wrong checksum is announced and then dropped
        except OSError as error:
            raise failed_with(error.errno or 0, "receive") from None


class QueuedError(NamedTuple):
    """What an ICMP message said, and who sent it."""

    errno: int
    text: str
    mtu: int  # the next link's, where errno is EMSGSIZE


def raise_queued_error(sock: socket.socket) -> None:
    """Raises the error in the socket's queue, if any."""
    if queued := queued_error(sock):
        raise failed_with(queued.errno, queued.text)


def queued_error(sock: socket.socket) -> Optional[QueuedError]:
    """The error in the socket's queue, if any, naming the ICMP sender: struct sock_extended_err, ip(7)."""
    try:
        _data, control, _flags, _to = sock.recvmsg(256, 512, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        return None
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR):
            number, _origin, icmp_type, code, mtu = struct.unpack_from("=IBBBxI", data)
            offender = socket.inet_ntoa(data[20:24])  # the 16 bytes of sock_extended_err, then a sockaddr_in
            return QueuedError(number, f"ICMP type {icmp_type} code {code} from {offender}", mtu)
    return None
