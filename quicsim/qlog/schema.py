"""Names in a trace: the newest drafts', those of qlog 0.3 that the common viewer (qvis) reads, or both."""

from enum import Enum
from typing import Final

FILE_SCHEMA: Final = "urn:ietf:params:qlog:file:sequential"
SERIALIZATION_FORMAT: Final = "application/qlog+json-seq"
EVENT_SCHEMAS: Final = (
    "urn:ietf:params:qlog:events:quic-13",
    "urn:ietf:params:qlog:events:simulation",
    "urn:ietf:params:qlog:events:loglevel",
)


class Profile(Enum):
    """Whom a trace is for."""

    RFC = "rfc"  # only what the newest drafts define
    QVIS = "qvis"  # qlog 0.3
    DUAL = "dual"  # the drafts' names, and beside them what a viewer of qlog 0.3 looks for


# The drafts' event name to qlog 0.3's category and name; all are of the namespace "quic".
_QUIC_EVENTS: Final = {
    "connection_started": ("connectivity", "connection_started"),
    "connection_closed": ("connectivity", "connection_closed"),
    "connection_state_updated": ("connectivity", "connection_state_updated"),
    "tuple_assigned": ("connectivity", "path_assigned"),
    "migration_state_updated": ("connectivity", "migration_state_updated"),
    "mtu_updated": ("connectivity", "mtu_updated"),
    "version_information": ("transport", "version_information"),
    "alpn_information": ("transport", "alpn_information"),
    "parameters_set": ("transport", "parameters_set"),
    "packet_sent": ("transport", "packet_sent"),
    "packet_received": ("transport", "packet_received"),
    "packet_dropped": ("transport", "packet_dropped"),
    "packet_buffered": ("transport", "packet_buffered"),
    "packets_acked": ("transport", "packets_acked"),
    "udp_datagrams_sent": ("transport", "datagrams_sent"),
    "udp_datagrams_received": ("transport", "datagrams_received"),
    "stream_state_updated": ("transport", "stream_state_updated"),
    "connection_data_blocked_updated": ("transport", "connection_data_blocked_updated"),
    "stream_data_blocked_updated": ("transport", "stream_data_blocked_updated"),
    "key_updated": ("security", "key_updated"),
    "key_discarded": ("security", "key_discarded"),
    "recovery_parameters_set": ("recovery", "parameters_set"),
    "recovery_metrics_updated": ("recovery", "metrics_updated"),
    "congestion_state_updated": ("recovery", "congestion_state_updated"),
    "ecn_state_updated": ("recovery", "ecn_state_updated"),
    "timer_updated": ("recovery", "loss_timer_updated"),
    "packet_lost": ("recovery", "packet_lost"),
}
_OTHER_EVENTS: Final = {
    "scenario": "simulation",
    "marker": "simulation",
    "datagram_dropped": "simulation",
    "queue_updated": "simulation",
    "warning": "loglevel",
}

# Events written a second time, under their 0.3 name, in the dual profile: the viewer plots nothing else.
_REPEATED: Final = ("recovery_metrics_updated",)


def event_names(profile: Profile) -> dict[str, tuple[str, ...]]:
    """Return, for each event type, the JSON members between time and data of each record that it gets."""
    names: dict[str, tuple[str, ...]] = {
        event: (f'"name":"{namespace}:{event}"',) for event, namespace in _OTHER_EVENTS.items()
    }
    for event, (category, old) in _QUIC_EVENTS.items():
        new_name = f'"name":"quic:{event}"'
        old_name = f'"name":"{category}:{old}","category":"{category}"'
        if profile is Profile.RFC:
            names[event] = (new_name,)
        elif profile is Profile.QVIS:
            names[event] = (old_name,)
        else:
            names[event] = (f'{new_name},"category":"{category}"',)
            if event in _REPEATED:
                names[event] += (old_name,)
    return names


def header(profile: Profile, title: str, host: str, role: str, connection: str) -> dict[str, object]:
    """Return the first record of a trace.

    `host` and `role` ("client", "server" or "network") are the vantage point, `connection` the original destination
    connection ID in hexadecimal. Members that readers search for in the first bytes come first.
    """
    record: dict[str, object] = {}
    if profile is not Profile.QVIS:
        record |= {"file_schema": FILE_SCHEMA, "serialization_format": SERIALIZATION_FORMAT}
    if profile is not Profile.RFC:
        record |= {"qlog_version": "0.3", "qlog_format": "JSON-SEQ"}
    common = {
        "group_id": connection,
        "time_format": "relative_to_epoch",
        "reference_time": {"clock_type": "monotonic", "epoch": "unknown"},
    }
    if profile is not Profile.RFC:
        common["ODCID"] = connection
    trace: dict[str, object] = {"common_fields": common, "vantage_point": {"name": host, "type": role}}
    if profile is not Profile.QVIS:
        trace["event_schemas"] = EVENT_SCHEMAS
    return record | {"title": title, "trace": trace}
