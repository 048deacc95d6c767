"""qlog traces, one per connection and endpoint (draft-ietf-quic-qlog-main-schema-14, -quic-events-13)."""

from quicsim.qlog.observer import QlogObserver
from quicsim.qlog.schema import Profile

__all__ = ["Profile", "QlogObserver"]
