"""Key exchange groups (RFC 8446 sections 4.2.8, 7.4.2) from injected randomness.

A group makes an offer (the client's share) and answers one (the server's share with the secret), which is
also the shape of a key encapsulation mechanism.
"""

from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    SECP384R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stack.randomness import Randomness
from stack.tls import mlkem
from stack.tls.alerts import ILLEGAL_PARAMETER, HandshakeError

try:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

    MLKEM768PrivateKey.from_seed_bytes(bytes(64))
    HAS_MLKEM = True
except (ImportError, UnsupportedAlgorithm):  # an older version of the library, or of what is below it
    HAS_MLKEM = False

# NamedGroup numbers.
P256: Final = 0x0017
P384: Final = 0x0018
X25519: Final = 0x001D
X25519MLKEM768: Final = 0x11EC  # where the crypto library has ML-KEM

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)


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

    def answer(self, offered: bytes, rng: Randomness, deterministic: bool = False) -> tuple[bytes, bytes]:
        """Return a server's share and the shared secret; `deterministic`: from `rng` and nothing else.

        Raises HandshakeError illegal_parameter for an invalid share.
        """
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


class EcOffer:
    """A share of ECDH on one of NIST's curves."""

    __slots__ = ("_private", "public")

    def __init__(self, private: EllipticCurvePrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def accept(self, answer: bytes) -> bytes:
        """Return the shared secret: the X coordinate of the product."""
        curve = self._private.curve
        try:
            if answer[:1] != b"\x04":
                raise ValueError("only uncompressed points are allowed")
            # rfc8446:4.2.8.2:1: from_encoded_point() checks that the point is on the curve
            peer = EllipticCurvePublicKey.from_encoded_point(curve, answer)
            # rfc8446:7.4.2:1
            return self._private.exchange(ECDH(), peer)
        except ValueError:
            raise HandshakeError(ILLEGAL_PARAMETER, f"the {curve.name} key share is not valid") from None


class X25519Group:
    """X25519."""

    def offer(self, rng: Randomness) -> X25519Offer:
        """Make a key pair."""
        return X25519Offer(X25519PrivateKey.from_private_bytes(rng.randbytes(32)))

    def answer(self, offered: bytes, rng: Randomness, deterministic: bool = False) -> tuple[bytes, bytes]:
        """Make a key pair; return its public half and the shared secret."""
        mine = self.offer(rng)
        return mine.public, mine.accept(offered)


class EcGroup:
    """ECDH on one of NIST's curves."""

    def __init__(self, curve: EllipticCurve, order: int) -> None:
        self._curve = curve
        self._order = order

    def offer(self, rng: Randomness) -> EcOffer:
        """Make a key pair; 64 random bits more than needed take the bias away (FIPS 186-5, A.2.1)."""
        scalar = int.from_bytes(rng.randbytes(self._curve.key_size // 8 + 8)) % (self._order - 1) + 1
        return EcOffer(derive_private_key(scalar, self._curve))

    def answer(self, offered: bytes, rng: Randomness, deterministic: bool = False) -> tuple[bytes, bytes]:
        """Make a key pair; return its public half and the shared secret."""
        mine = self.offer(rng)
        return mine.public, mine.accept(offered)


_X25519: Final = X25519Group()


class HybridOffer:
    """A client's share of X25519MLKEM768: an encapsulation key, then an X25519 share."""

    __slots__ = ("_private", "_x25519", "public")

    def __init__(self, private: "MLKEM768PrivateKey", x25519: Offer) -> None:
        self._private = private
        self._x25519 = x25519
        self.public = private.public_key().public_bytes_raw() + x25519.public

    def accept(self, answer: bytes) -> bytes:
        """Return both shared secrets, ML-KEM's first. Raises HandshakeError illegal_parameter."""
        if len(answer) != mlkem.CIPHERTEXT_LENGTH + 32:
            raise HandshakeError(ILLEGAL_PARAMETER, "the X25519MLKEM768 key share has a wrong length")
        secret = self._private.decapsulate(answer[: mlkem.CIPHERTEXT_LENGTH])
        return secret + self._x25519.accept(answer[mlkem.CIPHERTEXT_LENGTH :])


class HybridGroup:
    """X25519MLKEM768: X25519 and ML-KEM-768, for an adversary who records now and has a quantum computer later."""

    def offer(self, rng: Randomness) -> HybridOffer:
        """Make both key pairs."""
        private = MLKEM768PrivateKey.from_seed_bytes(rng.randbytes(64))
        return HybridOffer(private, _X25519.offer(rng))

    def answer(self, offered: bytes, rng: Randomness, deterministic: bool = False) -> tuple[bytes, bytes]:
        """Return ciphertext and X25519 share, and both shared secrets."""
        if len(offered) != mlkem.KEY_LENGTH + 32:
            raise HandshakeError(ILLEGAL_PARAMETER, "the X25519MLKEM768 key share has a wrong length")
        key = offered[: mlkem.KEY_LENGTH]
        try:
            if deterministic:
                secret, ciphertext = mlkem.encapsulate(key, rng.randbytes(32))
            else:
                secret, ciphertext = MLKEM768PublicKey.from_public_bytes(key).encapsulate()
        except ValueError:
            raise HandshakeError(ILLEGAL_PARAMETER, "the ML-KEM encapsulation key is not valid") from None
        public, x25519_secret = _X25519.answer(offered[mlkem.KEY_LENGTH :], rng)
        return ciphertext + public, secret + x25519_secret


GROUPS: Final[dict[int, Group]] = {
    X25519: _X25519,
    P256: EcGroup(SECP256R1(), _P256_ORDER),
    P384: EcGroup(SECP384R1(), _P384_ORDER),
}
if HAS_MLKEM:
    GROUPS[X25519MLKEM768] = HybridGroup()
