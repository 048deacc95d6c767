"""Counters of one connection; plain ints, always on."""

from dataclasses import dataclass


@dataclass(slots=True)
class ConnectionStats:
    """What a connection has done so far. Bytes are UDP payload bytes unless the name says stream."""

    datagrams_sent: int = 0
    datagrams_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    packets_dropped: int = 0  # undecryptable, duplicate or malformed
    packets_unauthentic: int = 0  # of those dropped
    packets_lost: int = 0
    bytes_lost: int = 0
    packets_lost_spuriously: int = 0  # of those lost: acknowledged after all
    stream_bytes_sent: int = 0  # including retransmissions
    stream_bytes_retransmitted: int = 0
    stream_bytes_received: int = 0  # new bytes only
    datagram_frames_sent: int = 0
    datagram_frames_received: int = 0
    datagram_frames_lost: int = 0  # of those sent
    datagram_frames_dropped: int = 0  # given up before they were sent
    pto_expired: int = 0
    congestion_events: int = 0
    congestion_events_undone: int = 0  # because the losses were spurious
    persistent_congestion_events: int = 0
