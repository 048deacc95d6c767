"""What a key log needs: the random value of the ClientHello, and the names of secrets."""

from typing import Final

from stack.tls import engine as tls

EXPORTER: Final = "EXPORTER_SECRET"

_START: Final = 6  # message type, length and version come before it
_END: Final = _START + 32

_NAMES: Final = {
    tls.EARLY: "EARLY_TRAFFIC_SECRET",
    tls.HANDSHAKE: "HANDSHAKE_TRAFFIC_SECRET",
    tls.APPLICATION: "TRAFFIC_SECRET_0",
}


class HelloRandom:
    """Takes the client's Initial handshake bytes, as far as the random value."""

    def __init__(self) -> None:
        self._data = b""

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        if len(self._data) < _END:
            self._data += data[: _END - len(self._data)]

    @property
    def value(self) -> bytes:
        """The random value."""
        return self._data[_START:_END]

    @staticmethod
    def label(secret: tls.NewSecret, is_client: bool) -> str:
        """Return a secret's name in key logs."""
        of_client = is_client == (secret.direction == tls.WRITE)
        return f"{'CLIENT' if of_client else 'SERVER'}_{_NAMES[secret.level]}"
