"""TLS secrets in a file, as NSS key log lines, which Wireshark decrypts captures with."""

from pathlib import Path

from quicsim.observers import Silent
from quicsim.outputs import OutputError
from stack.observer import ConnectionObserver, Observer


class KeyLog(Observer):
    """Appends the secrets of all connections to a file, each line as soon as it is known. Raises OutputError."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("a", buffering=1, encoding="ascii")
        except OSError as error:
            raise OutputError(f"{path}: the key log can't be written: {error.strerror}") from None

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver | None:
        """Note the secrets of a connection."""
        return _Lines(self)

    def write(self, label: str, client_random: bytes, secret: bytes) -> None:
        """Append a line."""
        self._file.write(f"{label} {client_random.hex()} {secret.hex()}\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Lines(Silent):
    def __init__(self, log: KeyLog) -> None:
        self._log = log

    def secret(self, _: int, label: str, client_random: bytes, secret: bytes) -> None:
        self._log.write(label, client_random, secret)
