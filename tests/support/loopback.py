"""What the loopback interface of this machine can do."""

import socket

import pytest


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="needs IPv6 on the loopback interface")
IPV6_LOOPBACK = pytest.param("::1", marks=needs_ipv6)
