"""What a peer can do wrong, and the alert that it gets."""

import random
from typing import Any

import pytest

from stack.errors import ConfigError
from stack.tls import codec, extensions, messages
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import APPLICATION, EARLY, HANDSHAKE, INITIAL, Alert
from stack.tls.groups import P256, X25519


def case(*values: Any, id: str, rule: str | None = None) -> Any:
    """A parameter set that may show a normative sentence to hold."""
    return pytest.param(*values, id=id, marks=pytest.mark.requirement(rule) if rule else ())


def block(bodies: dict[int, bytes | None]) -> bytes:
    """An extension block without those that are None."""
    return b"".join(extensions.encode_extension(kind, body) for kind, body in bodies.items() if body is not None)


GROUP_P256 = codec.vector16(codec.numbers((P256,)))
SHARE_P256 = codec.vector16(extensions.encode_key_share(P256, b"\x04" + bytes(64)))
ZERO_SHARE = codec.vector16(extensions.encode_key_share(X25519, bytes(32)))
SHORT_SHARE = codec.vector16(extensions.encode_key_share(X25519, bytes(31)))
TWO_SHARES = codec.vector16(2 * extensions.encode_key_share(X25519, bytes(32)))


def server_alerts(tls: Any, *feeds: tuple[int, bytes]) -> list[int]:
    server = ServerTls(tls.credentials("p256")).server(b"server", random.Random(1))
    for level, data in feeds:
        server.feed(level, data, 0)
    found: list[int] = tls.alerts(tls.drain(server))
    return found


@pytest.mark.parametrize(
    ("change", "fields", "alert"),
    [
        case({43: None}, {}, 70, id="no versions", rule="rfc8446:D.2:3"),
        case({43: b"\x02\x03\x03"}, {}, 70, id="no 1.3", rule="rfc8446:4.2.1:7"),
        case({}, {"version": b"\x03\x00"}, 70, id="ssl 3", rule="rfc8446:D.5:10"),
        case({43: b"\x03\x03\x04\x03"}, {}, 50, id="odd versions"),
        case({10: None}, {}, 109, id="no groups", rule="rfc8446:9.2:12"),
        case({51: None}, {}, 109, id="no share", rule="rfc8446:9.2:11"),
        case({13: None}, {}, 109, id="no schemes", rule="rfc8446:4.2.3:3"),
        case({57: None}, {}, 109, id="no parameters", rule="rfc9001:8.2:1"),
        case({16: None}, {}, 120, id="no ALPN", rule="rfc9001:8.1:2"),
        case({16: extensions.encode_alpn(("h3",))}, {}, 120, id="other ALPN"),
        case({16: b"\x00\x01\x00"}, {}, 50, id="short ALPN"),
        case({16: b"\x00\x02\x01a!"}, {}, 50, id="trailing ALPN"),
        case({10: b"\x00\x02\x0a\x0a", 51: b"\x00\x00"}, {}, 40, id="no common group"),
        case({13: b"\x00\x02\x08\x07"}, {}, 40, id="no common scheme"),
        case({}, {"suites": b"\x13\x05"}, 40, id="suites", rule="rfc8446:4.1.1:4"),
        case({}, {"suites": b"\x13\x05"}, 40, id="suite without header protection", rule="rfc9001:5.3:1"),
        case({}, {"suites": b"\x13"}, 50, id="odd suites"),
        case({}, {"suites": b""}, 50, id="no suites"),
        case({10: GROUP_P256}, {}, 47, id="unlisted", rule="rfc8446:4.2.8:8"),
        case({51: TWO_SHARES}, {}, 47, id="two shares of a group"),
        case({51: ZERO_SHARE}, {}, 47, id="zero", rule="rfc8446:7.4.2:3"),
        case({51: SHORT_SHARE}, {}, 47, id="short share"),
        case(
            {10: GROUP_P256, 51: SHARE_P256},
            {},
            47,
            id="point off the curve",
            rule="rfc8446:4.2.8.2:1",
        ),
        case({}, {"compression": b"\x01"}, 47, id="deflate", rule="rfc8446:4.1.2:14"),
        case({}, {"session": bytes(32)}, 47, id="session", rule="rfc9001:8.4:2"),
        case({}, {"session": bytes(33)}, 50, id="session too long"),
        case({}, {"tail": b"\x00"}, 50, id="trailing", rule="rfc8446:6:6"),
        case({}, {"more": b"\x00\x39\x00\x00"}, 47, id="twice", rule="rfc8446:4.2:7"),
        case({48: b""}, {}, 47, id="misplaced", rule="rfc8446:4.2:5"),
        case({41: b"", 99: b""}, {}, 47, id="psk not last", rule="rfc8446:4.2:6"),
        case({41: b""}, {}, 109, id="psk, no modes", rule="rfc8446:4.2.9:3"),
        case({0: b"\x00\x04\x00\x00\x01\xff"}, {}, 47, id="name not ASCII"),
        case({0: b"\x00\x08\x00\x00\x01a\x00\x00\x01b"}, {}, 47, id="two names"),
        case({0: b"\x00\x00"}, {}, 50, id="no name"),
    ],
)
def test_a_server_refuses_a_bad_client_hello(
    tls: Any, change: dict[int, bytes | None], fields: dict[str, bytes], alert: int
) -> None:
    assert server_alerts(tls, (INITIAL, tls.client_hello(change, **fields))) == [alert]


@pytest.mark.parametrize(
    "feeds",
    [
        case([(HANDSHAKE, None)], id="handshake level"),
        case([(EARLY, None)], id="early level"),
        case([(APPLICATION, None)], id="application level"),
        case([(INITIAL, None), (INITIAL, None)], id="twice"),
        case([(INITIAL, None), (HANDSHAKE, b"\x05\x00\x00\x00")], id="EndOfEarlyData"),
        case([(INITIAL, None), (HANDSHAKE, b"\x0b\x00\x00\x04")], id="Certificate"),
        case([(INITIAL, b"\x14\x00\x00\x20")], id="Finished first"),
        case([(INITIAL, b"\xff")], id="unknown type"),
    ],
)
@pytest.mark.requirement("rfc8446:4:2")
def test_a_server_refuses_an_unexpected_message_or_level(tls: Any, feeds: list[tuple[int, bytes | None]]) -> None:
    hello = tls.client_hello()
    assert server_alerts(tls, *((level, data or hello) for level, data in feeds)) == [10]


@pytest.mark.requirement("rfc8446:5.1:6")
def test_a_message_may_not_go_on_where_keys_change(tls: Any) -> None:
    assert server_alerts(tls, (INITIAL, tls.client_hello() + b"\x01")) == [10]


def test_a_message_that_is_too_long_is_refused_from_its_header(tls: Any) -> None:
    assert server_alerts(tls, (INITIAL, b"\x01\x00\x40\x01")) == [50]
    assert server_alerts(tls, (INITIAL, b"\x01\xff\xff\xff")) == [50]


@pytest.mark.requirement("rfc8446:4.4.4:1")
@pytest.mark.parametrize(("size", "alert"), [(32, 51), (31, 50), (48, 50)])
def test_a_server_refuses_a_wrong_finished(tls: Any, size: int, alert: int) -> None:
    finished = messages.encode_finished(bytes(size))
    assert server_alerts(tls, (INITIAL, tls.client_hello()), (HANDSHAKE, finished)) == [alert]


def test_after_an_alert_nothing_more_happens(tls: Any) -> None:
    hello = tls.client_hello()
    assert server_alerts(tls, (INITIAL, b"\xff"), (INITIAL, hello), (HANDSHAKE, hello)) == [10]


@pytest.mark.parametrize("data", [b"\x18\x00\x00\x01\x00", b"\x05\x00\x00\x00", b"\x0d\x00\x00\x00", b"\x01\x00"])
@pytest.mark.requirement("rfc9001:6:3")
@pytest.mark.requirement("rfc8446:4.1.2:3")
@pytest.mark.requirement("rfc8446:4.5:3")
def test_key_update_and_other_messages_after_completion_are_unexpected(tls: Any, data: bytes) -> None:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    server = ServerTls(credentials).server(b"server", random.Random(2))
    tls.exchange(client, server)
    for engine in (client, server):
        engine.feed(APPLICATION, data, 0)
        (alert,) = tls.drain(engine)
        assert isinstance(alert, Alert)
        assert (alert.level, alert.description) == (APPLICATION, 10)


@pytest.mark.parametrize(
    ("ticket", "alert"),
    [
        ("00093a81 00000000 00 0001aa 0000", 47),  # more than seven days
        ("00000001 00000000 00 0000 0000", 50),  # an empty ticket
        ("00000001 00000000 00 0001aa 0000 00", 50),
        ("00000001 00000000 00 0001aa 0004 00330000", 47),  # a key share
    ],
)
def test_a_client_refuses_a_bad_ticket(tls: Any, ticket: str, alert: int) -> None:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    tls.exchange(client, ServerTls(credentials).server(b"server", random.Random(2)))
    client.feed(APPLICATION, messages.encode_message(4, bytes.fromhex(ticket)), 0)
    assert tls.alerts(tls.drain(client)) == [alert]


def rogue_alerts(tls: Any, **changes: Any) -> list[int]:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    rogue = tls.rogue_server(changes.pop("credentials", credentials), **changes)
    found: list[int] = tls.alerts(rogue.talk_to(client))
    return found


def test_the_rogue_server_can_behave(tls: Any) -> None:
    assert rogue_alerts(tls) == []


def server_hello(change: dict[int, bytes | None] | None = None, **fields: bytes) -> bytes:
    bodies: dict[int, bytes | None] = {
        43: b"\x03\x04",
        51: extensions.encode_key_share(X25519, bytes(range(32))),
        **(change or {}),
    }
    block = b"".join(extensions.encode_extension(kind, body) for kind, body in bodies.items() if body is not None)
    body = fields.get("version", b"\x03\x03") + fields.get("random", bytes(32))
    body += codec.vector8(fields.get("session", b"")) + fields.get("suite", b"\x13\x01")
    body += fields.get("compression", b"\x00") + codec.vector16(block)
    return messages.encode_message(2, body + fields.get("tail", b""))


P256_ANSWER = extensions.encode_key_share(P256, b"\x04" + bytes(64))


@pytest.mark.parametrize(
    ("hello", "alert"),
    [
        case(server_hello({43: None}), 70, id="1.2", rule="rfc9001:4.2:2"),
        case(
            server_hello({43: None}, random=bytes(24) + b"DOWNGRD\x01"),
            47,
            id="downgraded to 1.2",
            rule="rfc8446:4.1.3:15",
        ),
        case(server_hello({43: None}, random=bytes(24) + b"DOWNGRD\x00"), 47, id="downgraded to 1.1"),
        case(
            server_hello({43: b"\x03\x03"}),
            47,
            id="version",
            rule="rfc8446:4.2.1:13",
        ),
        case(server_hello({43: b"\x03"}), 50, id="short version"),
        case(server_hello(version=b"\x03\x00"), 70, id="ssl 3"),
        case(server_hello(session=b"x"), 47, id="session", rule="rfc8446:4.1.3:4"),
        case(server_hello(suite=b"\x13\x04"), 47, id="suite", rule="rfc8446:4.1.3:5"),
        case(server_hello(compression=b"\x01"), 47, id="compression"),
        case(server_hello({51: None}), 109, id="no share"),
        case(server_hello({51: P256_ANSWER}), 47, id="group", rule="rfc8446:4.2.8:12"),
        case(server_hello({51: extensions.encode_key_share(X25519, bytes(32))}), 47, id="zero share"),
        case(server_hello({16: b""}), 47, id="ALPN misplaced"),
        case(server_hello({41: b"\x00\x00"}), 110, id="psk not offered"),
        case(server_hello({0x0A0A: b""}), 110, id="unknown extension"),
        case(server_hello(tail=b"!"), 50, id="trailing"),
        case(b"\x02\x00\x00\x02\x03\x03", 50, id="short"),
        case(server_hello() + b"\x08", 10, id="goes on"),
        case(b"\x08\x00\x00\x02\x00\x00", 10, id="EncryptedExtensions"),
    ],
)
def test_a_client_refuses_a_bad_server_hello(tls: Any, hello: bytes, alert: int) -> None:
    assert rogue_alerts(tls, server_hello=hello) == [alert]


@pytest.mark.parametrize(
    ("encrypted", "alert"),
    [
        case({16: None}, 120, id="no ALPN", rule="rfc9001:8.1:3"),
        case({16: extensions.encode_alpn(("h3",))}, 47, id="other ALPN"),
        case({16: extensions.encode_alpn(("quicsim", "h3"))}, 50, id="two ALPN"),
        case({57: None}, 109, id="no parameters", rule="rfc9001:8.2:1"),
        case({0x0A0A: b""}, 110, id="unknown", rule="rfc8446:4.2:4"),
        case({42: b""}, 110, id="early data that was not offered"),
        case({51: b""}, 47, id="misplaced", rule="rfc8446:4.3.1:2"),
        case({0: b"\x00"}, 50, id="name not empty"),
        case({10: b"\x00"}, 50, id="bad groups"),
    ],
)
def test_a_client_refuses_bad_encrypted_extensions(tls: Any, encrypted: dict[int, bytes | None], alert: int) -> None:
    assert rogue_alerts(tls, encrypted=encrypted) == [alert]


def test_extensions_that_were_offered_may_be_answered(tls: Any) -> None:
    assert rogue_alerts(tls, encrypted={0: b"", 10: b"\x00\x02\x00\x1d"}) == []


def certificate(body: str) -> bytes:
    return messages.encode_message(11, bytes.fromhex(body))


@pytest.mark.parametrize(
    ("message", "alert"),
    [
        case(certificate("00 000000"), 50, id="empty", rule="rfc8446:4.4.2.4:1"),
        case(certificate("00 000005 000000 0000"), 50, id="no bytes"),
        case(certificate("01aa 000006 000001 aa 0000"), 47, id="context"),
        case(
            certificate("00 00000a 000001 aa 0004 00050000"),
            110,
            id="not offered",
            rule="rfc8446:4.4.2:6",
        ),
        case(certificate("00 000006 000001 aa 0000"), 48, id="not the pinned one"),
        case(b"\x0b\x02\x00\x01", 50, id="too long"),
    ],
)
def test_a_client_refuses_a_bad_certificate_message(tls: Any, message: bytes, alert: int) -> None:
    assert rogue_alerts(tls, certificate=message) == [alert]


@pytest.mark.requirement("rfc8446:4.4.3:10")
def test_a_client_refuses_a_signature_of_another_key(tls: Any) -> None:
    pinned = messages.encode_certificate(tls.credentials("p256").certificates)
    assert rogue_alerts(tls, credentials=tls.credentials("other"), certificate=pinned) == [51]


@pytest.mark.requirement("rfc8446:4.4.3:6")
@pytest.mark.parametrize("scheme", [0x0804, 0x0401, 0x0203, 0x0503])
def test_a_client_refuses_a_scheme_that_does_not_suit(tls: Any, scheme: int) -> None:
    assert rogue_alerts(tls, scheme=scheme) == [47]


@pytest.mark.requirement("rfc8446:4.4.3:4")
def test_a_client_refuses_a_scheme_that_it_did_not_offer(tls: Any) -> None:
    credentials = tls.credentials("p256")
    for offered, alerts in (((0x0804,), [47]), ((0x0804, 0x0403), [])):
        client = ClientTls(credentials, signatures=offered).client("localhost", b"client", random.Random(1))
        assert tls.alerts(tls.rogue_server(credentials).talk_to(client)) == alerts


@pytest.mark.requirement("rfc8446:4.4.4:1")
def test_a_client_refuses_a_wrong_finished(tls: Any) -> None:
    assert rogue_alerts(tls, finished=messages.encode_finished(bytes(32))) == [51]
    assert rogue_alerts(tls, finished=messages.encode_finished(b"")) == [50]


def test_a_client_refuses_bytes_after_finished(tls: Any) -> None:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    server = ServerTls(credentials).server(b"server", random.Random(2))
    client_events, _ = tls.exchange(client, server, tamper=lambda level, data: data + b"\x04" * (level > 0))
    assert tls.alerts(client_events) == [10]


def test_every_flipped_bit_of_the_servers_flight_is_noticed(tls: Any) -> None:
    credentials = tls.credentials("p256")
    for position in range(0, 600, 7):

        def flip(level: int, data: bytes, position: int = position) -> bytes:
            index = position % len(data)
            return data[:index] + bytes((data[index] ^ 4,)) + data[index + 1 :] if level == HANDSHAKE else data

        client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
        server = ServerTls(credentials).server(b"server", random.Random(2))
        client_events, server_events = tls.exchange(client, server, tamper=flip)
        complete = [event for event in client_events + server_events if type(event).__name__ == "Completed"]
        assert complete == []


def test_a_client_can_do_nothing_before_start(tls: Any) -> None:
    client = ClientTls(tls.credentials("p256")).client("localhost", b"client", random.Random(1))
    client.feed(INITIAL, server_hello(), 0)
    assert tls.alerts(tls.drain(client)) == [10]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpn": ()}, "alpn"),
        ({"alpn": "quicsim"}, "alpn"),
        ({"alpn": ("",)}, "alpn"),
        ({"alpn": ("x" * 256,)}, "alpn"),
        ({"suites": ()}, "suites"),
        ({"suites": (0x1305,)}, "0x1305.*0x1301"),
        ({"groups": (X25519, X25519)}, "groups.*none twice"),
        ({"signatures": (0x0401,)}, "signatures.*ecdsa_secp256r1_sha256"),
        ({"key_shares": 0}, "key_shares = 0"),
        ({"key_shares": 4}, "key_shares = 4"),
    ],
)
def test_a_configuration_that_can_not_work_is_refused(tls: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClientTls(tls.credentials("p256"), **fields)


@pytest.mark.parametrize("name", ["", "a..b", "host.", "h\xf6st", "x" * 64])
def test_a_server_name_that_can_not_be_sent_is_refused(tls: Any, name: str) -> None:
    with pytest.raises(ConfigError, match="server_name"):
        ClientTls(tls.credentials("p256")).client(name, b"", random.Random(1))


def test_each_factory_makes_only_its_own_side(tls: Any) -> None:
    credentials = tls.credentials("p256")
    with pytest.raises(ConfigError, match="ServerTls"):
        ClientTls(credentials).server(b"", random.Random(1))
    with pytest.raises(ConfigError, match="ClientTls"):
        ServerTls(credentials).client("localhost", b"", random.Random(1))
