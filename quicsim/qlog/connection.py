"""One connection's trace: the stack's hooks as events (draft-ietf-quic-qlog-quic-events)."""

from ipaddress import ip_address
from typing import Final

from quicsim.observers import Silent
from quicsim.qlog.frames import Fields, FrameWriter, error_fields
from quicsim.qlog.schema import Profile
from quicsim.qlog.writer import TraceWriter, milliseconds, tuple_id
from stack.observer import Address, PacketInfo, RecoveryMetrics, RecoveryParameters
from stack.recovery.persistent_congestion import PERSISTENT_CONGESTION_THRESHOLD
from stack.recovery.rtt import GRANULARITY_NS
from stack.wire.parameters import PreferredAddress

_SPACES: Final = {
    "initial": "initial",
    "handshake": "handshake",
    "0RTT": "application_data",
    "1RTT": "application_data",
}
_CONNECTION_STATES: Final = {
    "handshaking": "attempted",
    "established": "handshake_complete",
    "confirmed": "handshake_confirmed",
}
_STREAM_STATES: Final = {"recv": "receive", "data_recvd": "data_received", "reset_recvd": "reset_received"}
_DROP_TRIGGERS: Final = {
    "internal_error": "internal_error",
    "rejected": "rejected",
    "unsupported": "unsupported",
    "invalid": "invalid",
    "duplicate": "duplicate",
    "unknown_connection_id": "connection_unknown",
    "connection_unknown": "connection_unknown",
    "decryption_failure": "decryption_failure",
    "key_unavailable": "key_unavailable",
}
_CLOSE_TRIGGERS: Final = (
    "idle_timeout",
    "application",
    "error",
    "version_mismatch",
    "stateless_reset",
    "aborted",
)
_ECN: Final = ("Not-ECT", "ECT(1)", "ECT(0)", "CE")
_NO_PARAMETER: Final = ("version_information",)  # what qlog has no field for
_UNKNOWN_FLAGS: Final = {"disable_1rtt_encryption": 0xBAAD}  # nor for these, which it takes by their identifiers


class ConnectionTrace(Silent):
    """Writes what happens to one connection to a TraceWriter."""

    def __init__(self, writer: TraceWriter, profile: Profile) -> None:
        self._writer: Final = writer
        self._event: Final = writer.event
        self._viewer: Final = profile is not Profile.RFC
        self._frames: Final = FrameWriter(self._viewer).frames
        self._exponents: Final = {"local": 3, "remote": 3}  # ack_delay_exponent
        self._metrics: Final[dict[int, Fields]] = {}  # by path
        self._ecn: Final = {"udp_datagrams_sent": -1, "udp_datagrams_received": -1}
        self._endings = 2  # hooks that are still to come before the trace is complete

    # Connection

    def connection_started(self, now: int, local: Address, remote: Address, scid: bytes, dcid: bytes) -> None:
        data = {"local": _endpoint(local, scid), "remote": _endpoint(remote, dcid)}
        self._event(now, "connection_started", data)

    def recovery_parameters(self, now: int, parameters: RecoveryParameters) -> None:
        self._event(
            now,
            "recovery_parameters_set",
            {
                "reordering_threshold": parameters.packet_threshold,
                "time_threshold": parameters.time_threshold,
                "timer_granularity": GRANULARITY_NS // 1_000_000,
                "loss_reduction_factor": parameters.loss_reduction,
                "persistent_congestion_threshold": PERSISTENT_CONGESTION_THRESHOLD,
            },
        )

    def path_assigned(self, now: int, path: int, local: Address, remote: Address) -> None:
        ends: Fields = {"tuple_remote": _addresses(remote), "tuple_local": _addresses(local)}
        self._event(now, "tuple_assigned", ends | {"tuple_id": tuple_id(path)})

    def path_dropped(self, now: int, path: int) -> None:
        self._metrics.pop(path, None)
        self._event(now, "tuple_assigned", {"tuple_id": tuple_id(path)})

    def migration_state(self, now: int, state: str, path: int) -> None:
        self._event(now, "migration_state_updated", {"new": state, "tuple_id": tuple_id(path)})

    def version_selected(self, now: int, version: int) -> None:
        self._event(now, "version_information", {"chosen_version": f"{version:08x}"})

    def alpn_selected(self, now: int, alpn: str) -> None:
        self._event(now, "alpn_information", {"chosen_alpn": {"string_value": alpn}})

    def parameters_set(self, now: int, owner: str, parameters: dict[str, object]) -> None:
        exponent = parameters.get("ack_delay_exponent", 3)
        if isinstance(exponent, int):
            self._exponents[owner] = exponent
        data: Fields = {"initiator": owner}
        if self._viewer:
            data["owner"] = owner
        for name, value in parameters.items():
            if name in _UNKNOWN_FLAGS:
                if value:
                    data["unknown_parameters"] = [{"id": _UNKNOWN_FLAGS[name]}]
            elif value is not None and name not in _NO_PARAMETER:
                data[name] = _parameter(value)
        self._event(now, "parameters_set", data)

    def key_updated(self, now: int, key_type: str, trigger: str, key_phase: int) -> None:
        data: Fields = {"key_type": key_type, "trigger": trigger}
        if "1rtt" in key_type:
            data["key_phase"] = key_phase
        self._event(now, "key_updated", data)

    def key_discarded(self, now: int, key_type: str) -> None:
        self._event(now, "key_discarded", {"key_type": key_type})

    def connection_state(self, now: int, old: str, new: str) -> None:
        data = {"old": _CONNECTION_STATES.get(old, old), "new": _CONNECTION_STATES.get(new, new)}
        self._event(now, "connection_state_updated", data)
        if new == "closed":
            self._end()

    def connection_closed(
        self, now: int, owner: str, code: int | None, application: bool, reason: str, trigger: str
    ) -> None:
        data: Fields = {"initiator": owner}
        if self._viewer:
            data["owner"] = owner
        if code is not None:
            error, number = error_fields(code, application)
            data["application_error" if application else "connection_error"] = error
            data |= number
        if reason:
            data["reason"] = reason
        data["trigger"] = trigger if trigger in _CLOSE_TRIGGERS else "unspecified"
        self._event(now, "connection_closed", data)
        self._end()

    def _end(self) -> None:
        """Close the trace after both the connection's last state and the reason of its end."""
        self._endings -= 1
        if not self._endings:
            self._writer.close()

    # Packets and datagrams

    def datagrams_sent(self, now: int, sizes: list[int], ecn: int) -> None:
        self._datagrams(now, "udp_datagrams_sent", sizes, ecn)

    def datagram_received(self, now: int, size: int, ecn: int) -> None:
        self._datagrams(now, "udp_datagrams_received", [size], ecn)

    def _datagrams(self, now: int, event: str, sizes: list[int], ecn: int) -> None:
        data: Fields = {"count": len(sizes), "raw": [{"length": size} for size in sizes]}
        if ecn != self._ecn[event]:
            self._ecn[event] = ecn
            data["ecn"] = [_ECN[ecn]] * len(sizes)
        self._event(now, event, data)

    def packet_sent(self, now: int, packet: PacketInfo) -> None:
        self._event(now, "packet_sent", self._packet(packet, "local"), packet.path)

    def packet_received(self, now: int, packet: PacketInfo) -> None:
        self._event(now, "packet_received", self._packet(packet, "remote"), packet.path)

    def _packet(self, packet: PacketInfo, sender: str) -> Fields:
        packet_type, payload = packet.packet_type, packet.payload
        header: Fields = {"packet_type": packet_type}
        if packet.packet_number >= 0:
            header["packet_number"] = packet.packet_number
        if packet_type == "1RTT":
            header["spin_bit"] = packet.spin == 1
            header["key_phase"] = packet.key_phase
        else:
            header["version"] = f"{packet.version:08x}"
            header["scid"] = packet.source_cid.hex()
            if packet.token:
                header["token"] = {"raw": {"length": len(packet.token), "data": packet.token.hex()}}
        header["dcid"] = packet.destination_cid.hex()
        data: Fields = {"header": header, "raw": {"length": packet.size, "payload_length": len(payload)}}
        if packet.packet_number >= 0:
            data["frames"] = self._frames(payload, self._exponents[sender])
        elif packet_type == "version_negotiation" and payload:
            data["supported_versions"] = [payload[i : i + 4].hex() for i in range(0, len(payload), 4)]
        return data

    def packet_dropped(self, now: int, packet_type: str, size: int, trigger: str) -> None:
        data: Fields = {"header": {"packet_type": packet_type or "unknown"}, "raw": {"length": size}}
        if trigger in _DROP_TRIGGERS:
            data["trigger"] = _DROP_TRIGGERS[trigger]
        else:
            data |= {"trigger": "general", "details": {"reason": trigger}}
        self._event(now, "packet_dropped", data)

    def packet_buffered(self, now: int, packet_type: str, size: int) -> None:
        data = {
            "header": {"packet_type": packet_type},
            "raw": {"length": size},
            "trigger": "keys_unavailable",
        }
        self._event(now, "packet_buffered", data)

    # Recovery

    def packets_acked(self, now: int, packet_type: str, packet_numbers: list[int]) -> None:
        data = {"packet_number_space": _SPACES[packet_type], "packet_numbers": packet_numbers}
        self._event(now, "packets_acked", data)

    def packet_lost(self, now: int, packet_type: str, packet_number: int, _: int, trigger: str) -> None:
        header = {"packet_type": packet_type, "packet_number": packet_number}
        self._event(now, "packet_lost", {"header": header, "trigger": trigger})

    def metrics_updated(self, now: int, metrics: RecoveryMetrics) -> None:
        values: Fields = {
            "min_rtt": milliseconds(metrics.min_rtt_ns),
            "smoothed_rtt": milliseconds(metrics.smoothed_rtt_ns),
            "latest_rtt": milliseconds(metrics.latest_rtt_ns),
            "rtt_variance": milliseconds(metrics.rttvar_ns),
            "pto_count": metrics.pto_count,
            "congestion_window": metrics.congestion_window,
            "bytes_in_flight": metrics.bytes_in_flight,
            "packets_in_flight": metrics.packets_in_flight,
        }
        if metrics.ssthresh is not None:
            values["ssthresh"] = metrics.ssthresh
        if metrics.pacing_rate is not None:
            values["pacing_rate"] = metrics.pacing_rate
        before = self._metrics.get(metrics.path, {})
        changed = {name: value for name, value in values.items() if before.get(name) != value}
        self._metrics[metrics.path] = values
        if changed:
            self._event(now, "recovery_metrics_updated", changed, metrics.path)

    def congestion_state(self, now: int, old: str, new: str) -> None:
        self._event(now, "congestion_state_updated", {"old": old, "new": new} if old else {"new": new})

    def ecn_state(self, now: int, old: str, new: str) -> None:
        self._event(now, "ecn_state_updated", {"old": old, "new": new})

    def mtu_updated(self, now: int, old: int, new: int, done: bool) -> None:
        self._event(now, "mtu_updated", {"old": old, "new": new, "done": done})

    def loss_timer(self, now: int, event: str, timer_type: str, packet_type: str, at: int | None) -> None:
        data: Fields = {"event_type": event, "timer_type": timer_type}
        if packet_type in _SPACES:
            data["packet_number_space"] = _SPACES[packet_type]
        if at is not None and event == "set":
            data["delta"] = milliseconds(at - now)
        self._event(now, "timer_updated", data)

    # Streams

    def stream_state(self, now: int, stream_id: int, side: str, old: str, new: str) -> None:
        data: Fields = {
            "stream_id": stream_id,
            "stream_type": "unidirectional" if stream_id & 2 else "bidirectional",
            "old": _STREAM_STATES.get(old, old),
            "new": _STREAM_STATES.get(new, new),
            "stream_side": side,
        }
        self._event(now, "stream_state_updated", data)

    def data_blocked(self, now: int, stream_id: int | None, _: int) -> None:
        if stream_id is None:
            data: Fields = {"new": "blocked", "reason": "connection_flow_control"}
            self._event(now, "connection_data_blocked_updated", data)
        else:
            data = {"new": "blocked", "stream_id": stream_id, "reason": "stream_flow_control"}
            self._event(now, "stream_data_blocked_updated", data)


def _endpoint(address: Address, connection_id: bytes) -> Fields:
    return _addresses(address) | {"connection_ids": [connection_id.hex()]}


def _addresses(address: Address) -> Fields:
    host, port = address
    version = _ip_version(host)
    return {f"ip_v{version}": host, f"port_v{version}": port}


def _ip_version(host: str) -> int:
    try:
        return ip_address(host).version
    except ValueError:
        return 4  # a name in the place of an address; qlog allows any text


def _parameter(value: object) -> object:
    if isinstance(value, PreferredAddress):
        fields: Fields = {}
        for version, address in ((4, value.ipv4), (6, value.ipv6)):
            if address is not None:
                fields |= {f"ip_v{version}": address[0], f"port_v{version}": address[1]}
        fields["connection_id"] = value.connection_id.hex()
        fields["stateless_reset_token"] = value.stateless_reset_token.hex()
        return fields
    return value.hex() if isinstance(value, bytes) else value
