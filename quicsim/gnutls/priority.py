"""What may be negotiated, in GnuTLS's language: priority strings."""

from typing import Final

from stack.tls.groups import P256, P384, X25519
from stack.tls.psk import PSK_DHE_KE, PSK_KE
from stack.tls.schedule import (
    AES_128_CCM_SHA256,
    AES_128_GCM_SHA256,
    AES_256_GCM_SHA384,
    CHACHA20_POLY1305_SHA256,
)
from stack.tls.signatures import (
    CERTIFICATE_ONLY,
    ECDSA_SECP256R1_SHA256,
    ECDSA_SECP384R1_SHA384,
    ECDSA_SECP521R1_SHA512,
    ED25519,
    RSA_PSS_PSS_SHA256,
    RSA_PSS_PSS_SHA384,
    RSA_PSS_PSS_SHA512,
    RSA_PSS_RSAE_SHA256,
    RSA_PSS_RSAE_SHA384,
    RSA_PSS_RSAE_SHA512,
)

SUITES: Final = {
    AES_128_GCM_SHA256: "AES-128-GCM",
    AES_256_GCM_SHA384: "AES-256-GCM",
    CHACHA20_POLY1305_SHA256: "CHACHA20-POLY1305",
    AES_128_CCM_SHA256: "AES-128-CCM",
}
GROUPS: Final = {X25519: "X25519", P256: "SECP256R1", P384: "SECP384R1"}
SIGNATURES: Final = {
    ECDSA_SECP256R1_SHA256: "ECDSA-SECP256R1-SHA256",
    ECDSA_SECP384R1_SHA384: "ECDSA-SECP384R1-SHA384",
    ECDSA_SECP521R1_SHA512: "ECDSA-SECP521R1-SHA512",
    RSA_PSS_RSAE_SHA256: "RSA-PSS-RSAE-SHA256",
    RSA_PSS_RSAE_SHA384: "RSA-PSS-RSAE-SHA384",
    RSA_PSS_RSAE_SHA512: "RSA-PSS-RSAE-SHA512",
    RSA_PSS_PSS_SHA256: "RSA-PSS-SHA256",
    RSA_PSS_PSS_SHA384: "RSA-PSS-SHA384",
    RSA_PSS_PSS_SHA512: "RSA-PSS-SHA512",
    ED25519: "EDDSA-ED25519",
}
_CERTIFICATE_SIGNATURES: Final = dict(
    zip(CERTIFICATE_ONLY, ("RSA-SHA256", "RSA-SHA384", "RSA-SHA512"), strict=True),
)
# Without (EC)DHE only where asked for: GnuTLS takes the first mode of a list that the peer has too.
_PSK_MODES: Final = {PSK_DHE_KE: "+ECDHE-PSK", PSK_KE: "+PSK"}


def priority_string(
    suites: tuple[int, ...], groups: tuple[int, ...], signatures: tuple[int, ...], psk_modes: tuple[int, ...]
) -> str:
    """Return the priority string for TLS 1.3 in QUIC with these, in order of preference."""
    words = ["NONE", "+VERS-TLS1.3", "+AEAD", "+COMP-NULL", "+CTYPE-X509"]
    words += [f"+{SUITES[suite]}" for suite in suites]
    words += [f"+GROUP-{GROUPS[group]}" for group in groups]
    words += [f"+SIGN-{SIGNATURES[scheme]}" for scheme in signatures]
    words += [f"+SIGN-{name}" for name in _CERTIFICATE_SIGNATURES.values()]
    words += [_PSK_MODES[mode] for mode in psk_modes]
    # rfc9001:8.4:1: an empty legacy_session_id, and no ChangeCipherSpec
    words += ["%DISABLE_TLS13_COMPAT_MODE", "%SERVER_PRECEDENCE"]
    return ":".join(words)
