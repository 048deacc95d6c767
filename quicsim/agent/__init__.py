"""Handshakes in another process: the agent, its protocol, and the TLS engine that asks it."""
