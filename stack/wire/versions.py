"""QUIC versions: what differs between them on the wire and in key derivation (RFC 9000, 9001, 9369)."""

from typing import Final, NamedTuple

VERSION_NEGOTIATION: Final = 0
VERSION_1: Final = 0x00000001
VERSION_2: Final = 0x6B3343CF


class Version(NamedTuple):
    """One version's constants; crypto and wire take it as a parameter."""

    number: int
    initial_salt: bytes  # RFC 9001 section 5.2
    key_label: bytes
    iv_label: bytes
    header_protection_label: bytes
    key_update_label: bytes
    retry_key: bytes  # RFC 9001 section 5.8
    retry_nonce: bytes
    packet_types: tuple[int, int, int, int]  # long-header type bits of Initial, 0-RTT, Handshake, Retry
    compatible: tuple[int, ...]  # versions that can answer its first flight (RFC 9368 section 2.2)


VERSIONS: Final[dict[int, Version]] = {
    VERSION_1: Version(
        number=VERSION_1,
        initial_salt=bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
        key_label=b"quic key",
        iv_label=b"quic iv",
        header_protection_label=b"quic hp",
        key_update_label=b"quic ku",
        retry_key=bytes.fromhex("be0c690b9f66575a1d766b54e368c84e"),
        retry_nonce=bytes.fromhex("461599d35d632bf2239825bb"),
        packet_types=(0, 1, 2, 3),
        compatible=(VERSION_2,),  # RFC 9369 section 4
    ),
    VERSION_2: Version(  # RFC 9369 section 3
        number=VERSION_2,
        initial_salt=bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
        key_label=b"quicv2 key",
        iv_label=b"quicv2 iv",
        header_protection_label=b"quicv2 hp",
        key_update_label=b"quicv2 ku",
        retry_key=bytes.fromhex("8fb4b01b56ac48e260fbcbcead7ccc92"),
        retry_nonce=bytes.fromhex("d86969bc2d7c6d9990efb04a"),
        packet_types=(1, 2, 3, 0),
        compatible=(VERSION_1,),
    ),
}


def reserved_version(bits: int) -> int:
    """Return one of the versions 0x?a?a?a?a that nobody speaks (RFC 9000 section 15); 16 random `bits` choose it."""
    high, low = (bits & 0xF000) << 16 | (bits & 0x0F00) << 12, (bits & 0x00F0) << 8 | (bits & 0x000F) << 4
    return high | low | 0x0A0A0A0A
