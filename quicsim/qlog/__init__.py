"""qlog traces, one per connection and endpoint (draft-ietf-quic-qlog-main-schema-14, -quic-events-13)."""

from quicsim.qlog.network import Mark, write_network_trace
from quicsim.qlog.observer import QlogObserver
from quicsim.qlog.schema import Profile

__all__ = ["Mark", "Profile", "QlogObserver", "write_network_trace"]
