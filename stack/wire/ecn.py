"""Codepoints of the two ECN bits in the IP header (RFC 3168 section 5)."""

from typing import Final

NOT_ECT: Final = 0  # the sender does not take part
ECT_1: Final = 1
ECT_0: Final = 2  # the sender understands marks
CE: Final = 3  # marked: congestion was experienced
