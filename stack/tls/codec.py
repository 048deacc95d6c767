"""The presentation language of RFC 8446 section 3: big-endian integers and vectors with a length in front."""

from struct import pack, unpack

from stack.tls.alerts import DECODE_ERROR, HandshakeError


class Reader:
    """Reads one structure from front to back; what does not fit is a decode_error (RFC 8446 section 6)."""

    __slots__ = ("_data", "_name", "_position")

    def __init__(self, data: bytes, name: str) -> None:
        """`name` says in error messages what is being read."""
        self._data = data
        self._name = name
        self._position = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._position

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        start = self._position
        end = start + length
        if end > len(self._data):
            # rfc8446:6:6
            raise HandshakeError(DECODE_ERROR, f"{self._name} is cut short")
        self._position = end
        return self._data[start:end]

    def integer(self, width: int) -> int:
        """Return the next `width` bytes as an unsigned integer."""
        return int.from_bytes(self.take(width))

    def vector(self, width: int, low: int = 0) -> bytes:
        """Return a vector's bytes: a length of `width` bytes, then at least `low` bytes."""
        length = int.from_bytes(self.take(width))
        if length < low:
            raise HandshakeError(DECODE_ERROR, f"{self._name} has a vector of {length} bytes, at least {low} needed")
        return self.take(length)

    def numbers(self, width: int) -> tuple[int, ...]:
        """Return a non-empty vector of 16-bit numbers; its length has `width` bytes."""
        data = self.vector(width, 2)
        if len(data) & 1:
            raise HandshakeError(DECODE_ERROR, f"{self._name} has a list of 16-bit numbers with an odd length")
        return unpack(f">{len(data) >> 1}H", data)

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.left:
            raise HandshakeError(DECODE_ERROR, f"{self._name} has {self.left} bytes too many")


def vector8(data: bytes) -> bytes:
    """Return `data` behind an 8-bit length."""
    return bytes((len(data),)) + data


def vector16(data: bytes) -> bytes:
    """Return `data` behind a 16-bit length."""
    return len(data).to_bytes(2) + data


def vector24(data: bytes) -> bytes:
    """Return `data` behind a 24-bit length."""
    return len(data).to_bytes(3) + data


def numbers(values: tuple[int, ...]) -> bytes:
    """Return 16-bit numbers, without a length."""
    return pack(f">{len(values)}H", *values)
