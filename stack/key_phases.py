"""Key update: the phases of the 1-RTT keys, and how much each key may protect (RFC 9001 section 6).

Either end moves its sending keys to the next phase and tells so with the Key Phase bit; the other follows before it
acknowledges. Once the handshake is confirmed, which is when updates may begin, the keys to read with are derived one
phase ahead, so that a packet which seems to start a phase takes no longer than any other (rfc9001:9.5:3). Header
protection keys never change.
"""

from typing import TYPE_CHECKING, Final

from stack.crypto.packet_protection import SUITES, Keys, PacketProtection, make_no_keys
from stack.errors import AEAD_LIMIT_REACHED, KEY_UPDATE_ERROR, KeyUpdateError, TransportError
from stack.recovery.acknowledgments import NEVER
from stack.sent_frame import SentFrame
from stack.wire.frames import PING
from stack.wire.header import KEY_PHASE_BIT

if TYPE_CHECKING:
    from stack.connection import Connection
    from stack.recovery.space import PacketNumberSpace

RETENTION_PTOS: Final = 3  # rfc9001:6.5:3, rfc9001:6.5:4
PACKETS_FOR_CLOSING: Final = 32  # kept back of a key's limit; a closing connection answers ever more rarely

_PING_FRAME: Final = bytes((PING,))


class KeyPhases:
    """The key phases of one connection, both directions.

    `write` and `read` count phases from 0. `discard_at` is when the read keys of the phase before must go, `update_at`
    the packet number of ours from which on the keys should be updated. A PING that it owes in each new phase tells,
    when it is acknowledged, that the peer has followed.
    """

    __slots__ = (
        "_close_at",
        "_connection",
        "_next_read",
        "_peer_began",
        "_previous",
        "_previous_last",
        "_space",
        "_update_from",
        "discard_at",
        "read",
        "update_at",
        "write",
    )

    def __init__(self, connection: "Connection", space: "PacketNumberSpace") -> None:
        """`space` is that of application data."""
        self._connection = connection
        self._space = space
        self.write = self.read = 0
        self._next_read: PacketProtection | None = None  # the read keys of the phase after
        self._previous: PacketProtection | None = None  # the read keys of the phase before
        self._previous_last = -1  # the largest packet number received under them
        self._peer_began = False  # whether it was the peer that began the phase `read`
        self.discard_at = NEVER
        self._update_from = 0  # when the next update may begin; NEVER until this phase is acknowledged
        self.update_at = NEVER
        self._close_at = NEVER  # the packet number at which the key has protected too much

    def install(self, keys: Keys, *, reading: bool) -> None:
        """Take the keys of phase 0 that TLS gave for one direction, if the two ends have agreed to use any."""
        if not self._connection.parameters.encrypted:
            keys = make_no_keys(keys.protection.suite)
            self._space.tag_length = 0
        if reading:
            self._space.read_keys = keys
        else:
            self._space.write_keys = keys
            self._set_limits(keys.protection.suite)

    def prepare(self) -> PacketProtection:
        """Return the keys to read the next phase with; they are derived in advance (rfc9001:6.3:5)."""
        if self._next_read is None:
            keys = self._space.read_keys
            if keys is None:
                raise RuntimeError("a key phase before there are keys")
            self._next_read = keys.protection.next_generation()
        return self._next_read

    # Sending

    def update(self, now: int) -> None:
        """Begin the next phase. Raises KeyUpdateError while that is not allowed."""
        refusal = self._refusal(now)
        if refusal:
            raise KeyUpdateError(refusal)
        self._advance_write("local_update", now)

    def on_limit(self, now: int) -> None:
        """The next packet number has reached `update_at`: the key should not protect many more packets.

        Updates the keys if that is possible (rfc9001:5.3:3, rfc9001:6.6:3); if that was not possible for too long,
        closes the connection while the key can still protect the CONNECTION_CLOSE (rfc9001:6.6:5).
        """
        if self._refusal(now) is None:
            self._advance_write("local_update", now)
        elif self._space.next_packet_number >= self._close_at:
            reason = "no key update was possible before the confidentiality limit of the AEAD"
            self._connection.closing.close(AEAD_LIMIT_REACHED, reason, False, now)

    def _refusal(self, now: int) -> str | None:
        """Why no update may begin, or None."""
        if not self._connection.handshake_confirmed:
            return "no key update before the handshake is confirmed"  # rfc9001:6.1:1
        if self._update_from == NEVER:
            # rfc9001:6.1:2
            return f"no key update before the peer has acknowledged a packet of key phase {self.write}"
        if now < self._update_from:
            # rfc9001:6.5:3
            return f"no key update before {self._update_from} ns, three PTOs after key phase {self.write} was confirmed"
        return None

    def _advance_write(self, trigger: str, now: int) -> None:
        space = self._space
        keys = space.write_keys
        if keys is None:
            raise RuntimeError("a key update before there are keys")
        space.write_keys = Keys(keys.protection.next_generation(), keys.header)
        space.write_phase ^= KEY_PHASE_BIT
        self.write += 1
        self._update_from = NEVER
        self._set_limits(keys.protection.suite)
        self._connection.control.owe(self, self.write)
        self._trace_update(self._connection.is_client, trigger, self.write, now)

    def _set_limits(self, suite: int) -> None:
        """Count anew what the write key protects (rfc9001:6.6:1): packet numbers tell how many packets."""
        limit = SUITES[suite].confidentiality_limit
        configured = self._connection.config.confidentiality_limit
        if configured is not None:
            limit = min(limit, configured)
        space = self._space
        first = space.next_packet_number
        self.update_at = first + limit // 2
        self._close_at = first + limit - PACKETS_FOR_CLOSING
        space.number_limit = first + limit  # rfc9001:6.6:2

    # Receiving

    def open(self, number: int, header: bytes, ciphertext: bytes, now: int) -> bytes | None:
        """Open a 1-RTT packet whose Key Phase bit is not that of the current keys; None when it is not authentic.

        It is late, and then from the phase before, or starts the next one. Raises TransportError.
        """
        previous = self._previous
        if previous is not None and number < self._space.phase_first:
            payload = previous.open(number, header, ciphertext)
            if payload is not None:
                self._previous_last = max(self._previous_last, number)
            return payload
        payload = self.prepare().open(number, header, ciphertext)
        if payload is not None:  # rfc9001:5.5:2
            self._advance_read(number, now)
        return payload

    def _advance_read(self, number: int, now: int) -> None:
        """The peer has begun the next phase with packet `number`, or followed us into it."""
        space = self._space
        acks, keys = space.acks, space.read_keys
        if number < acks.largest_received:
            # rfc9001:6.4:2
            reason = f"packet {number} has newer keys than packet {acks.largest_received}"
            raise TransportError(KEY_UPDATE_ERROR, reason)
        if self._peer_began and acks.largest_told < space.phase_first:
            # RFC 9001 section 6.2: we have not acknowledged the phase that it began before
            raise TransportError(KEY_UPDATE_ERROR, f"key phase {self.read} ended before it was acknowledged")
        if keys is None:
            raise RuntimeError("a packet was opened without keys")
        following = self.prepare()
        self._previous, self._previous_last = keys.protection, acks.largest_received  # rfc9001:6.1:4
        self.discard_at = now + RETENTION_PTOS * self._connection.recovery.timer.pto_ns()
        space.read_keys = Keys(following, keys.header)
        self._next_read = following.next_generation()
        space.read_phase ^= KEY_PHASE_BIT
        space.phase_first = number
        self.read += 1
        self._peer_began = self.write < self.read
        trigger = "remote_update" if self._peer_began else "local_update"
        if self._peer_began:
            self._advance_write(trigger, now)  # rfc9001:6.2:1, rfc9001:6.2:2
        self._trace_update(not self._connection.is_client, trigger, self.read, now)

    def on_reordered(self, number: int) -> None:
        """A packet of the current phase is older than all others of it. Raises TransportError (rfc9001:6.4:2)."""
        self._space.phase_first = number
        if number < self._previous_last:
            raise TransportError(KEY_UPDATE_ERROR, f"packet {self._previous_last} has older keys than packet {number}")

    def on_unauthentic(
        self, space: "PacketNumberSpace", suite: int, number: int, header: bytes, ciphertext: bytes
    ) -> None:
        """A packet of any space could not be opened: count it, and see whether it has keys that are too old.

        The old keys are tried whatever the Key Phase bit was, so that time doesn't tell it (rfc9001:6.3:1).
        Raises TransportError.
        """
        stats = self._connection.stats
        stats.packets_unauthentic += 1  # rfc9001:6.6:6
        limit = SUITES[suite].integrity_limit
        configured = self._connection.config.integrity_limit
        if configured is not None:
            limit = min(limit, configured)
        if stats.packets_unauthentic > limit:
            # rfc9001:6.6:7
            raise TransportError(AEAD_LIMIT_REACHED, "more forged packets than the integrity limit of the AEAD")
        if space is not self._space or self._previous is None:
            return
        if self._previous.open(number, header, ciphertext) is not None and number > space.phase_first:
            # rfc9001:6.4:2
            reason = f"packet {number} has older keys than packet {space.phase_first}"
            raise TransportError(KEY_UPDATE_ERROR, reason)

    def discard_previous(self) -> None:
        """Forget the read keys of the phase before; what comes so late is lost (rfc9001:6.5:4, rfc9001:6.5:5)."""
        self._previous = None
        self.discard_at = NEVER

    # The PING of a new phase

    def write_frame(self, key: int) -> bytes:
        """PING, if phase `key` is still the current one."""
        return _PING_FRAME if key == self.write else b""

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer has a packet of the phase, so it has followed: the next update may come after three PTOs."""
        if sent[1] == self.write and self._update_from == NEVER:
            self._update_from = now + RETENTION_PTOS * self._connection.recovery.timer.pto_ns()

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Ask again."""
        if sent[1] == self.write and self._update_from == NEVER:
            self._connection.control.owe(self, self.write)

    def _trace_update(self, of_client: bool, trigger: str, phase: int, now: int) -> None:
        trace = self._connection.trace
        if trace is not None:
            trace.key_updated(now, f"{'client' if of_client else 'server'}_1rtt_secret", trigger, phase)
