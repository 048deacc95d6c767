"""The one error of all invariants."""


class InvariantViolation(Exception):
    """Something happened that never may; the message says what, when, on which connection, and with which seed."""
