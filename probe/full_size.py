"""Whether a path that answers carries full-size packets, too: 64 kB each way over TCP, one datagram of the path's MTU each
way over UDP. Where the MTU of a link on the way is smaller and the message that says so is lost, small packets pass and
these never arrive (RFC 2923)."""
import errno
import fcntl
import os
import selectors
import socket
import struct
import termios
import time
from typing import Any, Generator, Optional

from conversations import failed_with, milliseconds, new_nonce, queued_error
from scheduler import Wait

TCP_BYTES = 65536
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14  # linux/in.h
UDP_HEADERS = 28  # IPv4 and UDP
LARGEST_LINK = 9216  # more is the loopback interface, whose MTU says nothing about a way that an address is translated to
ETHERNET = 1500
SAME_SIZE = b" same-size\n"  # echo/echo_server.py
MTU_TRIES = 4  # how often a router may say that a datagram is still too long

Conversation = Generator[Wait, bool, dict[str, Any]]


def lost(where: Optional[str], size: int, detail: Optional[str] = None) -> dict[str, Any]:
    """`where`: "there", "back", "somewhere", or None where everything arrived."""
    return {"bytes": size, "lost": where, "detail": detail}


def tcp(sock: socket.socket, _address: str, _port: int, timeout: float) -> Conversation:
    """Sends 64 kB to an echo server on an open connection and reads them back."""
    # What was lost must not be sent again and again after the end.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    data = os.urandom(TCP_BYTES)
    sent, received, acknowledged = 0, 0, 0
    last = time.monotonic()
    end = last + 3 * timeout
    while received < TCP_BYTES:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if sent < TCP_BYTES else 0)
        in_time = yield Wait(sock, events, min(last + timeout, end))
        now = sent - unacknowledged(sock)
        if not in_time and now <= acknowledged:
            return lost("there" if now < TCP_BYTES else "back", TCP_BYTES,
                        f"of {TCP_BYTES} bytes {now} arrived and {received} came back "
                        f"within {milliseconds(timeout):g} ms")
        last, acknowledged = time.monotonic(), now
        try:
            sent += sock.send(data[sent:])
        except BlockingIOError:
            pass
        except OSError as error:
            return lost("somewhere", TCP_BYTES, failed_with(error.errno or 0, "sending 64 kB").detail)
        try:
            chunk = sock.recv(TCP_BYTES)
        except BlockingIOError:
            continue
        except OSError as error:
            return lost("somewhere", TCP_BYTES, failed_with(error.errno or 0, "reading 64 kB").detail)
        if not chunk or data[received:received + len(chunk)] != chunk:
            what = "something else came back" if chunk else "the peer closed the connection"
            return lost("somewhere", TCP_BYTES, f"{what} after {received} of {TCP_BYTES} bytes")
        received += len(chunk)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
    return lost(None, TCP_BYTES)


def unacknowledged(sock: socket.socket) -> int:
    """Bytes that the kernel has taken and the peer has not acknowledged: SIOCOUTQ, tcp(7)."""
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])


def udp(sock: socket.socket, address: str, port: int, timeout: float) -> Conversation:
    """Sends one datagram that fills the path's MTU, not to be fragmented, and wants one of the same size back."""
    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    size = path_mtu(address, port)
    for _ in range(MTU_TRIES):
        first = new_nonce() + SAME_SIZE
        try:
            sock.sendto(first.ljust(size - UDP_HEADERS, b"x"), (address, port))
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                # Where this machine translates the address, only its own message knows the link that it leaves by.
                queued = queued_error(sock)
                told = queued.mtu if queued and queued.mtu > UDP_HEADERS else size
                if (smaller := min(told, path_mtu(address, port))) < size:
                    size = smaller
                    continue
            return lost("there", size, failed_with(error.errno or 0, f"sending a packet of {size} bytes").detail)
        deadline = time.monotonic() + timeout
        while (yield Wait(sock, selectors.EVENT_READ, deadline)):
            if queued := queued_error(sock):
                if queued.errno == errno.EMSGSIZE and UDP_HEADERS < queued.mtu < size:
                    size = queued.mtu
                    break
                return lost("there", size, f"a packet of {size} bytes: {queued.text}")
            try:
                data, source = sock.recvfrom(65535)
            except BlockingIOError:
                continue
            except OSError as error:
                return lost("somewhere", size, failed_with(error.errno or 0, f"a packet of {size} bytes").detail)
            if first.strip() not in data:
                continue  # late, from the conversation before
            if source != (address, port) or len(data) != size - UDP_HEADERS:
                return lost("back", size, f"{len(data) + UDP_HEADERS} of {size} bytes came back, from {source[0]}")
            return lost(None, size)
        else:
            return lost("somewhere", size, f"no answer to a packet of {size} bytes within {milliseconds(timeout):g} ms")
    return lost("there", size, f"after {MTU_TRIES} tries a router still calls a packet too long")


def path_mtu(address: str, port: int) -> int:
    """The largest packet that this machine sends there as a whole."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as scout:
        scout.connect((address, port))
        mtu = scout.getsockopt(socket.IPPROTO_IP, IP_MTU)
    return mtu if mtu <= LARGEST_LINK else ETHERNET
