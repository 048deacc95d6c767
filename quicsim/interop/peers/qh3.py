"""qh3, from PyPI: what urllib3.future uses."""

from typing import ClassVar

from quicsim.interop.peers.aioquic import Aioquic


class Qh3(Aioquic):
    """qh3: a descendant of aioquic with TLS and packet protection in Rust."""

    name: ClassVar = "qh3"
