"""When a packet came, by the kernel's clock instead of ours.

Linux stamps each received segment on ordinary TCP sockets, without privileges (docs/facts.md: timestamps). Read late,
the stamp is still right, so neither the event loop's load nor a scrape shows in a handshake time. Where there are no
stamps (Windows, macOS) the caller falls back to its own clock and says so.
"""

import socket
import struct
import sys
from typing import NamedTuple

SO_TIMESTAMPING = 37  # asm-generic/socket.h; also the type of the control message
RX_SOFTWARE = 1 << 3  # SOF_TIMESTAMPING_RX_SOFTWARE
SOFTWARE = 1 << 4  # SOF_TIMESTAMPING_SOFTWARE
TIMESPEC = struct.Struct("@ll")  # seconds, nanoseconds: the first of three in struct scm_timestamping
CONTROL_SPACE = 128
AVAILABLE = sys.platform == "linux"

TCP_INFO_LENGTH = 104
RTT_OFFSET, RETRANSMITS_OFFSET = 68, 100  # struct tcp_info in linux/tcp.h: tcpi_rtt, tcpi_total_retrans
ESTABLISHED = 1


class ConnectInfo(NamedTuple):
    """What the kernel knows of a connect: whether it is through, and its round trip in seconds (None: not measured)."""

    established: bool
    round_trip: float | None


def enable(sock: socket.socket) -> None:
    """Ask for receive stamps; to be called before the connect."""
    if AVAILABLE:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE | SOFTWARE)


def keep_enabled() -> socket.socket:
    """A socket to hold open for as long as stamps are wanted.

    The kernel switches stamping on with a delay when the first socket asks for it; without one that stays open, the
    first segments of a connection come without a stamp.
    """
    keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    enable(keeper)
    return keeper


def receive(sock: socket.socket, size: int) -> tuple[bytes, int | None]:
    """Read up to `size` bytes; with the kernel's stamp of the last segment read, in nanoseconds since the epoch."""
    if not AVAILABLE:
        return sock.recv(size), None
    data, control, _, _ = sock.recvmsg(size, CONTROL_SPACE)
    for level, kind, payload in control:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING and len(payload) >= TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack_from(payload)
            return data, (seconds * 1_000_000_000 + nanoseconds) or None
    return data, None


def connect_info(sock: socket.socket) -> ConnectInfo | None:
    """The kernel's view of a connect, before anything is sent; None where it offers none.

    The round trip is that of SYN and SYN-ACK, and missing when either had to be sent again.
    """
    if not AVAILABLE:
        return None
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_LENGTH)
    if len(info) < TCP_INFO_LENGTH:
        return None
    microseconds = int.from_bytes(info[RTT_OFFSET : RTT_OFFSET + 4], sys.byteorder)
    retransmits = int.from_bytes(info[RETRANSMITS_OFFSET : RETRANSMITS_OFFSET + 4], sys.byteorder)
    return ConnectInfo(info[0] == ESTABLISHED, microseconds / 1e6 if microseconds and not retransmits else None)
