"""Which version a connection speaks: version information and compatible negotiation (RFC 9368, RFC 9369 section 4).

The client's first packets are in its original version. A server that knows a version it likes better, and that the
client offers and can be converted to, answers in that one; the client follows at the server's first authentic Initial
packet in it, and both authenticate the outcome with the version_information transport parameter.
"""

from typing import TYPE_CHECKING

from stack.crypto.packet_protection import TLS_AES_128_GCM_SHA256, Keys, make_keys
from stack.errors import VERSION_NEGOTIATION_ERROR, TransportError
from stack.wire import header as wire
from stack.wire.parameters import VersionInformation
from stack.wire.versions import VERSION_1, VERSIONS, reserved_version

if TYPE_CHECKING:
    from stack.connection import Connection


class VersionNegotiation:
    """One connection's choice of version. `original` is the version of the client's first packets."""

    __slots__ = (
        "_candidates",
        "_chosen",
        "_connection",
        "_grease",
        "_original_keys",
        "_settled",
        "original",
        "reacted",
    )

    def __init__(self, connection: "Connection", *, reacted: bool) -> None:
        """`reacted`: whether this attempt follows a Version Negotiation packet."""
        self._connection = connection
        self.reacted = reacted
        self.original = connection.version
        self._chosen = connection.version
        self._grease = reserved_version(connection.rng.getrandbits(16))
        self._settled = False  # the version will not change any more
        self._candidates: dict[int, Keys] = {}  # client: to read Initial packets of offered versions
        self._original_keys: Keys | None = None  # server: to read the client's Initial packets in the original version

    # Version information

    def information(self) -> VersionInformation:
        """What we announce: a client its original version, a server the one it chose; and a version nobody speaks."""
        available = self._offered() if self._connection.is_client else self._connection.config.versions
        return self._chosen.number, (*available, self._grease)

    def _offered(self) -> tuple[int, ...]:
        """The versions in which a server may answer our first flight, ours first in order of preference."""
        return tuple(number for number in self._connection.config.versions if self._convertible(number))

    def _convertible(self, number: int) -> bool:
        """Whether the original version may become `number` in this connection."""
        original = self.original
        # rfc9368:2.2:1
        upgrade = self._connection.config.compatible_upgrade and number in original.compatible
        return number == original.number or upgrade

    def choose(self, information: VersionInformation | None) -> None:
        """A server's choice, given what the client announced: the first of our versions that the client offers.

        Raises TransportError when the client did not mean to use the version of its packets.
        """
        if information is None:
            return  # rfc9368:4:11
        chosen, available = information
        if chosen != self.original.number:
            # rfc9368:4:8, rfc9368:4:9, rfc9368:4:10
            raise _error(f"the client chose version 0x{chosen:08x}, its packets have 0x{self.original.number:08x}")
        # rfc9368:2.3:1
        self._chosen = VERSIONS[next(number for number in self._offered() if number in available)]

    def check(self, information: VersionInformation | None) -> None:
        """A client's check of what the server announced. Raises TransportError for whatever may be a downgrade."""
        version = self._connection.version.number
        if information is None:
            if self.reacted and self.original.number == version == VERSION_1:
                information = VERSION_1, (VERSION_1,)  # rfc9368:8:1
            elif self.reacted or version != self.original.number:
                # rfc9368:4:12, rfc9368:4:14
                raise _error("the server sent no version_information")
            else:
                return
        chosen, available = information
        if chosen != version or chosen not in self._offered():
            # rfc9368:4:13, rfc9368:4:18
            raise _error(f"the server chose version 0x{chosen:08x}, its packets have 0x{version:08x}")
        if self.reacted and (not available or self.select((*available, version)) != self.original.number):
            # rfc9368:4:15, rfc9368:4:16, rfc9368:4:17
            raise _error("the server speaks a version that we would have preferred to the negotiated one")

    # Changing over

    def reads(self, packet_type: int, number: int) -> bool:
        """Whether a long packet may be in version `number` although the connection speaks another one."""
        if self._connection.is_client:
            # A Handshake packet may overtake the Initial packet that tells the version; it waits for its keys
            return not self._settled and packet_type != wire.RETRY and number in self._offered()
        # rfc9369:4.1:7 until a Handshake packet discards all Initial keys
        return packet_type == wire.INITIAL and self._original_keys is not None and number == self.original.number

    def initial_keys(self, number: int) -> Keys | None:
        """The keys that open Initial packets in version `number`, for which `reads` was true."""
        if not self._connection.is_client:
            return self._original_keys
        keys = self._candidates.get(number)
        if keys is None:
            version = VERSIONS[number]
            secret, _ = self._connection.handshake.initial_secrets(version)
            keys = self._candidates[number] = make_keys(TLS_AES_128_GCM_SHA256, secret, version)
        return keys

    def on_initial(self, number: int, now: int) -> None:
        """An authentic Initial packet arrived: a client takes over the server's version (rfc9369:4.1:6)."""
        if self._connection.is_client and number != self._connection.version.number:
            self._chosen = VERSIONS[number]
            self.switch(now)

    def on_retry(self) -> None:
        """The Initial keys of every version follow from another connection ID now."""
        self._candidates.clear()

    def settle(self) -> None:
        """A client got CRYPTO from the server: the version is the negotiated one (RFC 9369 section 4.1)."""
        self._settled = True

    def switch(self, now: int) -> None:
        """Speak the chosen version from now on (rfc9369:4.1:5, rfc9369:4.1:8)."""
        connection = self._connection
        if self._chosen is connection.version:
            return
        if not connection.is_client:
            self._original_keys = connection.spaces[0].read_keys
        self._settled = True
        self._candidates.clear()
        connection.version = self._chosen
        connection.handshake.install_initial_keys(now)
        if connection.trace is not None:
            connection.trace.version_selected(now, connection.version.number)

    # Version Negotiation packets

    def select(self, versions: list[int] | tuple[int, ...]) -> int | None:
        """The first of our versions that is among `versions`, those of the server (rfc9368:2.1:3)."""
        return next((number for number in self._connection.config.versions if number in versions), None)


def _error(reason: str) -> TransportError:
    return TransportError(VERSION_NEGOTIATION_ERROR, reason)
