"""UDP sockets as QUIC wants them: ECN both ways, no fragments, many datagrams per system call, known local addresses.

Every one of these is an option of Linux; where the kernel lacks one, the socket does without it.
"""

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stack.observer import Address

if TYPE_CHECKING:
    from stack.transmit import Transmit

# Of <linux/in.h>, <linux/in6.h> and <linux/udp.h>; Python does not name them all
_IP_TOS: Final = 1
_IP_PKTINFO: Final = 8
_IP_MTU_DISCOVER: Final = 10
_IP_RECVERR: Final = 11
_IP_RECVTOS: Final = 13
_IPV6_MTU_DISCOVER: Final = 23
_IPV6_RECVERR: Final = 25
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_IPV6_RECVTCLASS: Final = 66
_IPV6_TCLASS: Final = 67
_IPV6_AUTOFLOWLABEL: Final = 70
_PMTUDISC_PROBE: Final = 3  # don't fragment, and leave it to us to find what fits (rfc9000:14:3)
_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_SO_TIMESTAMPNS: Final = 35
_SO_MEMINFO: Final = 55

_ECN_MASK: Final = 0x03
_BUFFER: Final = 65_535  # bytes of what one call may receive
_SOCKET_BUFFER: Final = 4 << 20  # bytes, as far as the kernel allows it
_MAX_SEGMENTS: Final = 64  # datagrams in one call, and together no more bytes than an IP packet may have
_MAX_BATCH: Final = 65_000
_ANCILLARY: Final = socket.CMSG_SPACE(20) + 2 * socket.CMSG_SPACE(4) + socket.CMSG_SPACE(16)
_INT: Final = struct.Struct("=i")
_U16: Final = struct.Struct("=H")
_TIMESPEC: Final = struct.Struct("=qq")
_MEMINFO: Final = struct.Struct("=9I")  # the last one counts drops

Ancillary = list[tuple[int, int, bytes]]


class Received(NamedTuple):
    """One datagram that came; `ecn` is the codepoint, 0 to 3."""

    payload: bytes
    source: Address
    destination: Address
    ecn: int


class UdpSocket:
    """A UDP socket that never waits, bound to one address; "0.0.0.0" and "::" stand for all of their family.

    `gso` and `gro` tell whether the kernel takes and gives several datagrams at a time, `is_wildcard` whether all
    addresses of the family are meant. `refused` counts datagrams that the system did not take. Without `report_errors`
    what the network reports, such as a closed port, is neither told nor in the way of the next datagram. With
    `timestamps`, `received_at` is when the latest batch came, in ns since 1970; 0 where the kernel does not tell.
    """

    def __init__(self, host: str, port: int = 0, *, report_errors: bool = True, timestamps: bool = False) -> None:
        """Raises OSError with a message that names the address when it can't be bound."""
        self.refused = 0
        self.received_at = 0
        self._is_ipv6 = ":" in host
        family = socket.AF_INET6 if self._is_ipv6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.is_wildcard: Final = host in ("0.0.0.0", "::")
        self._level = socket.IPPROTO_IPV6 if self._is_ipv6 else socket.IPPROTO_IP
        self.gso = self._try(_SOL_UDP, _UDP_SEGMENT, 0)
        self.gro = self._try(_SOL_UDP, _UDP_GRO, 1)
        self._set_options()
        if timestamps:
            self._try(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if report_errors:
            self._try(self._level, _IPV6_RECVERR if self._is_ipv6 else _IP_RECVERR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"UDP port {port} of {host}: {error.strerror}") from None
        bound = self._socket.getsockname()
        self.address: Final[Address] = (bound[0], bound[1])
        self._buffer = bytearray(_BUFFER)

    def _set_options(self) -> None:
        self._try(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)
        self._try(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        if self._is_ipv6:
            self._try(self._level, socket.IPV6_V6ONLY, 1)
            self._try(self._level, _IPV6_RECVTCLASS, 1)
            self._try(self._level, _IPV6_AUTOFLOWLABEL, 1)  # rfc9000:9.7:1 each flow one of its own
            self._try(self._level, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
            if self.is_wildcard:
                self._try(self._level, _IPV6_RECVPKTINFO, 1)
        else:
            self._try(self._level, _IP_RECVTOS, 1)
            self._try(self._level, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
            if self.is_wildcard:
                self._try(self._level, _IP_PKTINFO, 1)

    def _try(self, level: int, option: int, value: int) -> bool:
        try:
            self._socket.setsockopt(level, option, value)
        except OSError:
            return False
        return True

    def fileno(self) -> int:
        """The file descriptor, for an event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @property
    def overflowed(self) -> int:
        """Datagrams that came and found the receive buffer full; 0 where the system can't tell."""
        try:
            info = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        except OSError:
            return 0
        return int(_MEMINFO.unpack(info)[-1]) if len(info) == _MEMINFO.size else 0

    def sends_from(self, address: Address) -> bool:
        """Whether datagrams with this source address leave through this socket."""
        if self.is_wildcard:
            return address[1] == self.address[1] and (":" in address[0]) == self._is_ipv6
        return address == self.address

    # Receiving

    def receive(self) -> list[Received]:
        """Return what one system call gives: nothing, one datagram or a batch. Raises OSError for pending errors."""
        try:
            size, ancillary, _, source = self._socket.recvmsg_into([self._buffer], _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return []
        segment, ecn, destination = size, 0, self.address
        for level, kind, data in ancillary:
            if level == _SOL_UDP and kind == _UDP_GRO:
                segment = _U16.unpack_from(data)[0]
            elif kind in (_IP_TOS, _IPV6_TCLASS) and level == self._level:
                ecn = data[0] & _ECN_MASK
            elif level == self._level and kind in (_IP_PKTINFO, _IPV6_PKTINFO):
                destination = (self._local_host(data), self.address[1])
            elif level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack_from(data)
                self.received_at = seconds * 1_000_000_000 + nanoseconds
        view = memoryview(self._buffer)
        peer = (source[0], source[1])
        return [
            Received(bytes(view[start : min(start + segment, size)]), peer, destination, ecn)
            for start in range(0, size, segment or 1)
        ]

    def _local_host(self, info: bytes) -> str:
        """The local address in a packet-information message."""
        if self._is_ipv6:
            return socket.inet_ntop(socket.AF_INET6, info[:16])
        return socket.inet_ntop(socket.AF_INET, info[8:12])

    def pending_error(self) -> tuple[OSError, Address] | None:
        """The oldest error that the network reported, and the destination that it concerns; None when there is none."""
        try:
            _, ancillary, _, destination = self._socket.recvmsg(1, 512, socket.MSG_ERRQUEUE)
        except OSError:
            return None
        for level, kind, data in ancillary:
            if level == self._level and kind in (_IP_RECVERR, _IPV6_RECVERR):
                number = _INT.unpack_from(data)[0]
                return OSError(number, errno.errorcode.get(number, "error")), (destination[0], destination[1])
        return None

    # Sending

    def send(self, transmits: "Sequence[Transmit]") -> int:
        """Send datagrams in order and return how many are done with; fewer than given means: go on when writable.

        A datagram that the system refuses counts as lost on the way, as UDP may lose any.
        """
        done = 0
        for batch in batches(transmits, self.gso):
            first = batch[0]
            try:
                self._socket.sendmsg([each.payload for each in batch], self._ancillary(batch), 0, first.destination)
            except (BlockingIOError, InterruptedError):
                return done
            except OSError as error:
                if len(batch) > 1 and error.errno in (errno.EIO, errno.EINVAL, errno.EMSGSIZE):
                    self.gso = error.errno == errno.EMSGSIZE  # this interface can't; for good, unless it was the size
                    for each in batch:
                        self._send_one(each)
                else:
                    self.refused += len(batch)
            done += len(batch)
        return done

    def _send_one(self, transmit: "Transmit") -> None:
        try:
            self._socket.sendmsg([transmit.payload], self._ancillary([transmit]), 0, transmit.destination)
        except OSError:
            self.refused += 1

    def _ancillary(self, batch: "Sequence[Transmit]") -> Ancillary:
        first = batch[0]
        ancillary: Ancillary = []
        if len(batch) > 1:
            ancillary.append((_SOL_UDP, _UDP_SEGMENT, _U16.pack(len(first.payload))))
        if first.ecn:
            kind = _IPV6_TCLASS if self._is_ipv6 else _IP_TOS
            ancillary.append((self._level, kind, _INT.pack(first.ecn)))
        if self.is_wildcard and first.source[0] != self.address[0]:
            ancillary.append(self._source(first.source[0]))
        return ancillary

    def _source(self, host: str) -> tuple[int, int, bytes]:
        """The message that chooses the local address of a datagram."""
        if self._is_ipv6:
            return self._level, _IPV6_PKTINFO, socket.inet_pton(socket.AF_INET6, host) + _INT.pack(0)
        return self._level, _IP_PKTINFO, _INT.pack(0) + socket.inet_pton(socket.AF_INET, host) + bytes(4)


def batches(transmits: "Iterable[Transmit]", together: bool) -> "Iterator[list[Transmit]]":
    """Group datagrams that may leave in one call: the same addresses and codepoint, all of a size but the last.

    With `together` false, each is alone.
    """
    batch: list[Any] = []
    size = total = 0
    for transmit in transmits:
        length = len(transmit.payload)
        if batch:
            first = batch[0]
            fits = (
                together
                and length <= size
                and len(batch[-1].payload) == size
                and len(batch) < _MAX_SEGMENTS
                and total + length <= _MAX_BATCH
                and transmit[1:] == first[1:]
            )
            if not fits:
                yield batch
                batch = []
        if not batch:
            size, total = length, 0
        batch.append(transmit)
        total += length
    if batch:
        yield batch


def local_host(remote: Address) -> str:
    """The address of this machine from which `remote` is reached. Raises OSError when there is no way."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(remote)
        except OSError as error:
            raise OSError(error.errno, f"{remote[0]}: {error.strerror}") from None
        host: str = probe.getsockname()[0]
        return host
