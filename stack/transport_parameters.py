"""What both sides announce in the TLS handshake, and what follows from it (RFC 9000 sections 7.3, 7.4 and 18)."""

from typing import TYPE_CHECKING, Final

from stack.errors import TRANSPORT_PARAMETER_ERROR, TransportError
from stack.path.connection_ids import stateless_reset_token
from stack.recovery.ack_frequency import MIN_ACK_DELAY_US
from stack.stateless_reset import SHORTEST_ID
from stack.wire.parameters import (
    PreferredAddress,
    TransportParameters,
    decode_transport_parameters,
    encode_reserved_parameter,
    encode_transport_parameters,
)

if TYPE_CHECKING:
    from stack.connection import Connection

RESERVED_PARAMETER_LENGTH: Final = 8  # bytes of nothing, to see that peers ignore what they do not know


class ParameterExchange:
    """The transport parameters of one connection; `peer` are those of the peer, once TLS has them.

    `encrypted` tells whether 1-RTT packets are, as always unless both ends have announced otherwise.
    """

    __slots__ = ("_connection", "_decoded", "encrypted", "peer")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._decoded: TransportParameters | None = None  # a server's, which answers before it applies them
        self.peer: TransportParameters | None = None
        self.encrypted = True

    def _local(self) -> TransportParameters:
        connection = self._connection
        config = connection.config
        parameters = TransportParameters(
            max_idle_timeout=config.max_idle_timeout_ms,
            max_udp_payload_size=config.max_udp_payload_size,
            initial_max_data=config.initial_max_data,
            initial_max_stream_data_bidi_local=config.initial_max_stream_data_bidi_local,
            initial_max_stream_data_bidi_remote=config.initial_max_stream_data_bidi_remote,
            initial_max_stream_data_uni=config.initial_max_stream_data_uni,
            initial_max_streams_bidi=config.initial_max_streams_bidi,
            initial_max_streams_uni=config.initial_max_streams_uni,
            ack_delay_exponent=config.ack_delay_exponent,
            max_ack_delay=config.max_ack_delay_ms + config.timer_delay_ms,  # rfc9000:18.2:2
            max_datagram_frame_size=config.max_datagram_frame_size,
            reset_stream_at=config.reset_stream_at,
            grease_quic_bit=config.grease_quic_bit,
            disable_1rtt_encryption=config.disable_1rtt_encryption,
            min_ack_delay=MIN_ACK_DELAY_US if config.ack_frequency else None,
            version_information=connection.negotiation.information(),
            # Without connection IDs nothing tells whose the packets from another address are
            disable_active_migration=config.disable_active_migration or not connection.local_ids.length,
            active_connection_id_limit=config.active_connection_id_limit,
            initial_source_connection_id=connection.local_ids.first,
        )
        if not connection.is_client:
            parameters.original_destination_connection_id = connection.original_destination_cid
            parameters.retry_source_connection_id = connection.retry_source_cid
            if config.stateless_reset and connection.local_ids.length >= SHORTEST_ID:  # rfc9000:10.3.2:5
                parameters.stateless_reset_token = stateless_reset_token(
                    connection.reset_key, connection.local_ids.first
                )
            reserved = None
            if config.preferred_address_v4 or config.preferred_address_v6:
                reserved = connection.local_ids.reserve()
            if reserved is not None:
                connection_id, token = reserved
                parameters.preferred_address = PreferredAddress(
                    config.preferred_address_v4, config.preferred_address_v6, connection_id, token
                )
        return parameters

    def encode_local(self, now: int) -> bytes:
        """Return what this side announces, as TLS carries it."""
        parameters = self._local()
        if self._connection.trace is not None:
            self._connection.trace.parameters_set(now, "local", parameters.as_dict())
        encoded = encode_transport_parameters(parameters)
        if self._connection.config.grease_transport_parameters:
            rng = self._connection.rng
            encoded += encode_reserved_parameter(rng.getrandbits(16), rng.randbytes(RESERVED_PARAMETER_LENGTH))
        return encoded

    def answer(self, peer: bytes, now: int) -> bytes:
        """A server's parameters, which tell the version that it chooses from those that the client offers."""
        self._decoded = parameters = decode_transport_parameters(peer, from_client=True)
        self._connection.negotiation.choose(parameters.version_information)
        return self.encode_local(now)

    def on_peer(self, data: bytes, now: int) -> None:
        """Check and apply what the peer announced (RFC 9000 sections 7.3, 7.4, 18.2)."""
        connection = self._connection
        parameters = self._decoded or decode_transport_parameters(data, from_client=not connection.is_client)
        # rfc9000:7.3:2, rfc9000:7.3:4
        if parameters.initial_source_connection_id != connection.remote_ids.current:
            raise TransportError(TRANSPORT_PARAMETER_ERROR, "initial_source_connection_id is not the one in use")
        if connection.is_client:
            if parameters.original_destination_connection_id != connection.original_destination_cid:
                raise TransportError(TRANSPORT_PARAMETER_ERROR, "original_destination_connection_id is not ours")
            if parameters.retry_source_connection_id != connection.retry_source_cid:
                raise TransportError(TRANSPORT_PARAMETER_ERROR, "retry_source_connection_id is not that of the Retry")
            if parameters.stateless_reset_token is not None:
                connection.remote_ids.set_handshake_reset_token(parameters.stateless_reset_token)
            preferred = parameters.preferred_address
            if preferred is not None:
                connection.remote_ids.add_preferred(preferred.connection_id, preferred.stateless_reset_token)
        if connection.is_client:
            connection.negotiation.check(parameters.version_information)
        else:
            connection.negotiation.switch(now)
        self.peer = parameters
        self.encrypted = not (connection.config.disable_1rtt_encryption and parameters.disable_1rtt_encryption)
        # rfc9287:3.1:3, rfc9287:3.1:4, rfc9287:3.1:6 not before the peer has announced it on this connection
        connection.sender.builder.grease = connection.config.grease_quic_bit and parameters.grease_quic_bit
        if connection.trace is not None:
            connection.trace.parameters_set(now, "remote", parameters.as_dict())
        connection.streams.set_peer_parameters(parameters)
        connection.datagrams.set_peer_limit(parameters.max_datagram_frame_size)
        connection.recovery.timer.max_ack_delay_ns = parameters.max_ack_delay * 1_000_000
        connection.ack_frequency.set_peer_parameters(parameters)
        connection.recovery.peer_ack_delay_exponent = parameters.ack_delay_exponent
        connection.idle.negotiate(connection.config.max_idle_timeout_ms, parameters.max_idle_timeout)
        if parameters.max_udp_payload_size < connection.peer_max_datagram_size:
            connection.peer_max_datagram_size = parameters.max_udp_payload_size
            connection.path.set_datagram_size(parameters.max_udp_payload_size)
