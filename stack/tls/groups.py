"""Key exchange groups X25519 and P-256 (RFC 8446 sections 4.2.8.2, 7.4.2) from injected randomness.

A group makes an offer (the client's share) and answers one (the server's share with the secret), which is
also the shape of a key encapsulation mechanism.
"""

from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stack.randomness import Randomness
from stack.tls.alerts import ILLEGAL_PARAMETER, HandshakeError

# NamedGroup numbers.
P256: Final = 0x0017
X25519: Final = 0x001D

_CURVE: Final = SECP256R1()
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Offer(Protocol):
    """A client's key share; the private half is kept until the server answers."""

    @property
    def public(self) -> bytes:
        """The key_exchange field."""
        ...

    def accept(self, answer: bytes) -> bytes:
        """Return the shared secret. Raises HandshakeError illegal_parameter for an invalid share."""
        ...


class Group(Protocol):
    """One way to exchange keys."""

    def offer(self, rng: Randomness) -> Offer:
        """Make a client's share."""
        ...

    def answer(self, offered: bytes, rng: Randomness) -> tuple[bytes, bytes]:
        """Return a server's share and the shared secret. Raises HandshakeError for an invalid share."""
        ...


class X25519Offer:
    """A share of RFC 7748's X25519."""

    __slots__ = ("_private", "public")

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    def accept(self, answer: bytes) -> bytes:
        """Return the shared secret. An all-zero one is refused (RFC 8446 section 7.4.2)."""
        try:
            # rfc8446:7.4.2:3: exchange() refuses the all-zero secret
            return self._private.exchange(X25519PublicKey.from_public_bytes(answer))
        except ValueError:
            raise HandshakeError(ILLEGAL_PARAMETER, "the X25519 key share is not valid") from None


class P256Offer:
    """A share of ECDH on secp256r1."""

    __slots__ = ("_private", "public")

    def __init__(self, private: EllipticCurvePrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def accept(self, answer: bytes) -> bytes:
        """Return the shared secret: the X coordinate of the product."""
        try:
            if answer[:1] != b"\x04":
                raise ValueError("only uncompressed points are allowed")
            # rfc8446:4.2.8.2:1: from_encoded_point() checks that the point is on the curve
            peer = EllipticCurvePublicKey.from_encoded_point(_CURVE, answer)
            return self._private.exchange(ECDH(), peer)
        except ValueError:
            raise HandshakeError(ILLEGAL_PARAMETER, "the secp256r1 key share is not valid") from None


class X25519Group:
    """X25519."""

    def offer(self, rng: Randomness) -> X25519Offer:
        """Make a key pair."""
        return X25519Offer(X25519PrivateKey.from_private_bytes(rng.randbytes(32)))

    def answer(self, offered: bytes, rng: Randomness) -> tuple[bytes, bytes]:
        """Make a key pair; return its public half and the shared secret."""
        mine = self.offer(rng)
        return mine.public, mine.accept(offered)


class P256Group:
    """secp256r1."""

    def offer(self, rng: Randomness) -> P256Offer:
        """Make a key pair; 64 random bits more than needed take the bias away (FIPS 186-5, A.2.1)."""
        scalar = int.from_bytes(rng.randbytes(40)) % (_ORDER - 1) + 1
        return P256Offer(derive_private_key(scalar, _CURVE))

    def answer(self, offered: bytes, rng: Randomness) -> tuple[bytes, bytes]:
        """Make a key pair; return its public half and the shared secret."""
        mine = self.offer(rng)
        return mine.public, mine.accept(offered)


GROUPS: Final[dict[int, Group]] = {X25519: X25519Group(), P256: P256Group()}
