"""qh3, from PyPI: what urllib3.future uses."""

from typing import ClassVar

from quicsim.interop.peers.aioquic import Aioquic
from quicsim.interop.peers.peer import Role


class Qh3(Aioquic):
    """qh3: a descendant of aioquic with TLS and packet protection in Rust.

    It speaks version 2, but no handshake that begins in version 1 gets there: not with itself, nor with aioquic.
    """

    name: ClassVar = "qh3"
    testcases: ClassVar = {role: cases - {"v2"} for role, cases in Aioquic.testcases.items()}
    limits: ClassVar = {Role.CLIENT: {"S": "qh3's client numbers its packets anew after a Retry"}}
