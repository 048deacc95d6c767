"""QUIC (RFC 8999, 9000, 9001, 9002), sans-IO: bytes, time and randomness come in as arguments.

Start at `stack.endpoint.Endpoint` and its verbs: connect, receive, transmit, deadline, timeout.
"""
