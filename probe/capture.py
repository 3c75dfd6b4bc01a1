"""Packets as a machine's kernel hands them to a packet socket, packet(7), reduced to what identifies a flow.

A flow is followed across address translation by what translation leaves alone: TCP's sequence number, UDP's payload.
"""
import select
import socket
import struct
import time
from typing import Any, NamedTuple, Optional

ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800  # linux/if_ether.h
SOL_PACKET, PACKET_STATISTICS = 263, 6  # linux/socket.h, linux/if_packet.h
PACKET_OTHERHOST, PACKET_OUTGOING = 3, 4
SO_RCVBUFFORCE = 33  # asm-generic/socket.h: beyond net.core.rmem_max, for root
BUFFER_BYTES = 4 << 20
SNAPSHOT = 512  # bytes: an echo header and a nonce fit
ICMP, TCP, UDP = 1, 6, 17
NAMES = {TCP: "tcp", UDP: "udp"}
FLAGS = ((0x02, "S"), (0x10, "A"), (0x01, "F"), (0x04, "R"), (0x08, "P"))
QUOTING = {3, 4, 5, 11, 12}  # ICMP types that carry the packet they are about
Ports = dict[str, list[int]]


class Ends(NamedTuple):
    """Source and destination addresses of an IPv4 packet, its protocol and what it carries."""

    source: str
    destination: str
    protocol: int
    payload: bytes


def parse_ipv4(data: bytes) -> Optional[Ends]:
    """The first fragment of an IPv4 packet, or None."""
    if len(data) < 20 or data[0] >> 4 != 4 or struct.unpack_from("!H", data, 6)[0] & 0x1FFF:
        return None
    header = (data[0] & 15) * 4
    length = struct.unpack_from("!H", data, 2)[0]
    return Ends(socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20]), data[9], data[header:length or None])


def parse_transport(ends: Ends, ports: Ports) -> Optional[dict[str, Any]]:
    """A TCP or UDP packet with one of these ports at either end, as far as it is there; None for others."""
    name = NAMES.get(ends.protocol)
    if name is None or len(ends.payload) < 8:
        return None
    source_port, port = struct.unpack_from("!HH", ends.payload)
    if source_port not in ports.get(name, ()) and port not in ports.get(name, ()):
        return None
    packet = {"protocol": name, "source": ends.source, "sourcePort": source_port, "destination": ends.destination,
              "port": port}
    if name == "udp":
        return packet | {"line": last_line(ends.payload[8:])}
    packet["sequence"] = struct.unpack_from("!I", ends.payload, 4)[0]
    if len(ends.payload) >= 20:
        bits = ends.payload[13]
        packet |= {"acknowledges": struct.unpack_from("!I", ends.payload, 8)[0],
                   "flags": "".join(letter for bit, letter in FLAGS if bits & bit),
                   "bytes": len(ends.payload) - (ends.payload[12] >> 4) * 4}
    return packet


def last_line(payload: bytes) -> str:
    """The last line of a text: the nonce, in a question as well as in an answer."""
    return payload.rstrip(b"\n").rsplit(b"\n", 1)[-1][:64].decode("ascii", "replace")


def parse_packet(data: bytes, ports: Ports) -> Optional[dict[str, Any]]:
    """A packet of one of the flows, or an ICMP message about one; None for all others."""
    ends = parse_ipv4(data)
    if ends is None:
        return None
    if ends.protocol != ICMP:
        return parse_transport(ends, ports)
    if len(ends.payload) < 8 or ends.payload[0] not in QUOTING:
        return None
    inner = parse_ipv4(ends.payload[8:])
    about = parse_transport(inner, ports) if inner else None
    if about is None:
        return None
    return {"protocol": "icmp", "source": ends.source, "destination": ends.destination, "type": ends.payload[0],
            "code": ends.payload[1], "about": about}


class Capture:
    """Every interface of the machine; packets that arrive before run() are kept by the kernel from the start on."""

    def __init__(self, ports: Ports, most: int) -> None:
        self.ports, self.most = ports, most
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        except PermissionError:  # without CAP_NET_ADMIN of the first namespace the usual size has to do
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.started = time.monotonic()

    def run(self, seconds: float) -> list[dict[str, Any]]:
        """The packets of the time until then, at most `most`, in the order in which they came."""
        packets: list[dict[str, Any]] = []
        deadline = time.monotonic() + seconds
        while len(packets) < self.most and (left := deadline - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                break
            data, (interface, protocol, kind, _type, sender) = self.sock.recvfrom(SNAPSHOT)
            is_ours = protocol == ETH_P_IP and kind != PACKET_OTHERHOST
            packet = parse_packet(data, self.ports) if is_ours else None
            if packet:
                packets.append({"ms": round((time.monotonic() - self.started) * 1000, 1), "interface": interface,
                                "direction": "out" if kind == PACKET_OUTGOING else "in", "sender": sender.hex(":")}
                               | packet)
        return packets

    def lost(self) -> int:
        """How many packets the kernel had no room for."""
        _seen, lost = struct.unpack("II", self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return int(lost)
