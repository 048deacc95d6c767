"""Session tickets, resumption and 0-RTT in the engines."""

import random
from typing import Any

import pytest

from stack.errors import ConfigError
from stack.limits import MAX_SESSION_TICKETS
from stack.tls import extensions, messages
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import (
    APPLICATION,
    EARLY,
    HANDSHAKE,
    INITIAL,
    READ,
    WRITE,
    Alert,
    Completed,
    EarlyData,
    Event,
    HandshakeBytes,
    HandshakeInfo,
    KeyLog,
    NewSecret,
    RememberedParameters,
    SessionTicket,
)
from stack.tls.extensions import EARLY_DATA, KEY_SHARE, PRE_SHARED_KEY, PSK_KEY_EXCHANGE_MODES
from stack.tls.groups import P256, P384, X25519
from stack.tls.hello import ClientHello, encode_server_hello, parse_client_hello
from stack.tls.psk import PSK_DHE_KE, PSK_KE, ExternalPsk, check_binder
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.session import decode_session, encode_session

SECOND = 1_000_000_000
KEY = bytes(range(32))


class Side:
    """Two configurations, and what happens between their engines."""

    def __init__(self, tls: Any, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> None:
        self.tls = tls
        self.credentials = tls.credentials("p256")
        self.client_fields = client or {}
        self.config = ServerTls(self.credentials, **{"tickets": 1, **(server or {})})

    def engines(self, name: str = "localhost", **fields: Any) -> tuple[Any, Any]:
        trust = fields.pop("trust", self.credentials)
        parameters = fields.pop("parameters", b"server")
        config = fields.pop("server", self.config)
        client = ClientTls(trust, **{**self.client_fields, **fields}).client(name, b"client", random.Random(1))
        return client, config.server(parameters, random.Random(2))

    def connect(self, now: int = 0, name: str = "localhost", **fields: Any) -> "Run":
        client, server = self.engines(name, **fields)
        events = self.tls.exchange(client, server, now=now)
        server.send_ticket(now)
        sent = self.tls.drain(server)
        for event in sent:
            client.feed(event.level, event.data, now)
        return Run(client, server, events[0], events[1], sent, self.tls.drain(client))

    def session(self, now: int = 0, **fields: Any) -> bytes:
        (event,) = self.connect(now, **fields).tickets
        blob: bytes = event.blob
        return blob


class Run:
    """One connection: the engines and all their events."""

    def __init__(self, client: Any, server: Any, *events: Any) -> None:
        self.client, self.server = client, server
        self.client_events: list[Event] = events[0]
        self.server_events: list[Event] = events[1]
        self.sent: list[HandshakeBytes] = events[2]
        self.after: list[Event] = events[3]

    @property
    def tickets(self) -> list[SessionTicket]:
        return [event for event in self.after if isinstance(event, SessionTicket)]

    @property
    def hellos(self) -> list[ClientHello]:
        sent = [event for event in self.client_events if isinstance(event, HandshakeBytes) and event.level == INITIAL]
        return [parse_client_hello(event.data[4:]) for event in sent]

    @property
    def resumed(self) -> bool:
        """Whether both ends say so, and are complete with the same secrets."""
        ends = (self.client_events, self.server_events)
        (info,) = {event for events in ends for event in events if isinstance(event, HandshakeInfo)}
        assert all(isinstance(events[-1], Completed) for events in ends)
        secrets = [
            {(event.level, event.direction == side): event.secret for event in events if isinstance(event, NewSecret)}
            for side, events in ((READ, ends[0]), (WRITE, ends[1]))
        ]
        for place in secrets[0].keys() & secrets[1].keys():
            assert secrets[0][place] == secrets[1][place]
        assert len(secrets[0].keys() & secrets[1].keys()) >= 4
        return info.resumed

    def early(self) -> tuple[list[bool], list[bool]]:
        """What each end says about 0-RTT."""
        found = [
            [event.accepted for event in events if isinstance(event, EarlyData)]
            for events in (self.client_events, self.server_events)
        ]
        return found[0], found[1]

    @property
    def alerts(self) -> tuple[list[int], list[int]]:
        found = [
            [event.description for event in events if isinstance(event, Alert)]
            for events in (self.client_events, self.server_events)
        ]
        return found[0], found[1]


def early_secrets(events: list[Event]) -> list[NewSecret]:
    return [event for event in events if isinstance(event, NewSecret) and event.level == EARLY]


# Tickets


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_a_ticket_resumes_the_session_without_certificates(tls: Any, suite: int, size: int) -> None:
    side = Side(tls, {"suites": (suite,)})
    blob = side.session()
    client, server = side.engines(session=blob)
    client_events, server_events = tls.exchange(client, server, size, now=SECOND)
    run = Run(client, server, client_events, server_events, [], [])
    assert run.resumed
    flight = [event.data for event in server_events if isinstance(event, HandshakeBytes) and event.level == HANDSHAKE]
    assert len(flight[0]) < 150
    assert client_events[-1] == Completed(side.credentials.certificates)


@pytest.mark.requirement("rfc8446:4.6.1:12")
def test_each_ticket_is_another_and_each_resumes(tls: Any) -> None:
    side = Side(tls, server={"tickets": 3})
    run = side.connect()
    sessions = [decode_session(event.blob) for event in run.tickets]
    assert len({session.key for session in sessions}) == len({session.age_add for session in sessions}) == 3
    assert len({session.ticket for session in sessions}) == 3
    for event in run.tickets:
        assert side.connect(5 * SECOND, session=event.blob).resumed


def test_a_resumed_session_gives_tickets_that_resume_again(tls: Any) -> None:
    side = Side(tls)
    blob = side.session()
    for second in range(1, 4):
        run = side.connect(second * SECOND, session=blob)
        assert run.resumed
        assert run.client_events[-1] == Completed(side.credentials.certificates)
        (ticket,) = run.tickets
        blob = ticket.blob


@pytest.mark.requirement("rfc8446:4.2.9:5")
def test_a_client_that_can_not_resume_gets_no_ticket(tls: Any) -> None:
    run = Side(tls).connect(tickets=False)
    assert run.sent == []
    assert PSK_KEY_EXCHANGE_MODES not in run.hellos[0].extensions
    assert Side(tls, server={"psk_modes": (PSK_KE,)}).connect().sent == []
    assert Side(tls, server={"tickets": 0}).connect().sent == []


@pytest.mark.requirement("rfc8446:2.2:1")
@pytest.mark.requirement("rfc8446:4.2.11:15")
def test_what_a_resuming_client_offers(tls: Any) -> None:
    side = Side(tls)
    session = side.session()
    (hello,) = side.connect(3 * SECOND, session=session).hellos
    assert KEY_SHARE in hello.extensions
    assert list(hello.extensions)[-1] == PRE_SHARED_KEY
    assert EARLY_DATA not in hello.extensions
    assert hello.psk_modes == (PSK_DHE_KE,)
    assert hello.psk is not None
    known = decode_session(session)
    assert hello.psk.identities == ((known.ticket, (3000 + known.age_add) % (1 << 32)),)


@pytest.mark.requirement("rfc8446:4.2.11.1:1")
def test_a_client_does_not_offer_a_ticket_beyond_its_lifetime(tls: Any) -> None:
    side = Side(tls, server={"ticket_lifetime": 10})
    session = side.session(now=SECOND)
    assert side.connect(11 * SECOND - 1, session=session).resumed
    late = side.connect(11 * SECOND, session=session)
    assert not late.resumed
    assert late.hellos[0].psk is None
    assert side.connect(0, session=session).hellos[0].psk is None  # another clock


def test_a_server_does_not_take_a_ticket_beyond_its_lifetime(tls: Any) -> None:
    side = Side(tls, server={"ticket_lifetime": 100, "ticket_key": KEY})
    session = side.session()
    shorter = ServerTls(side.credentials, tickets=1, ticket_key=KEY, ticket_lifetime=10)
    assert side.connect(10 * SECOND - 1, session=session, server=shorter).resumed
    assert not side.connect(10 * SECOND, session=session, server=shorter).resumed


@pytest.mark.requirement("rfc8446:4.2.11:5")
@pytest.mark.requirement("rfc8446:4.2.11:6")
def test_a_ticket_of_another_server_leads_to_a_full_handshake(tls: Any) -> None:
    side = Side(tls)
    session = side.session()
    other = ServerTls(side.credentials, tickets=1)
    assert not side.connect(SECOND, session=session, server=other).resumed
    assert side.connect(SECOND, session=session).resumed


@pytest.mark.requirement("rfc8446:4.6.1:5")
def test_a_session_is_offered_only_to_a_server_of_its_name_that_we_still_trust(tls: Any) -> None:
    side = Side(tls)
    session = side.session()
    assert side.connect(SECOND, "other.example", session=session).hellos[0].psk is None
    client, _ = side.engines(session=session, trust=tls.credentials("p384"))
    client.start(SECOND)
    hello = parse_client_hello(tls.drain(client)[0].data[4:])
    assert hello.psk is None


@pytest.mark.requirement("rfc9369:5:2")
def test_a_ticket_is_taken_only_in_the_context_that_it_was_issued_in(tls: Any) -> None:
    side = Side(tls)
    for issued, offered, taken, resumed in (
        (b"", b"", b"", True),
        (b"1", b"1", b"1", True),
        (b"1", b"2", b"1", False),
        (b"1", b"1", b"2", False),
    ):
        client, server = side.engines()
        for engine in (client, server):
            engine.set_context(issued)
        tls.exchange(client, server)
        server.send_ticket(0)
        client.feed(APPLICATION, tls.drain(server)[0].data, 0)
        client, server = side.engines(session=tls.drain(client)[0].blob)
        client.set_context(offered)
        server.set_context(taken)
        client_events, server_events = tls.exchange(client, server, now=SECOND)
        assert Run(client, server, client_events, server_events, [], []).resumed is resumed


def test_a_ticket_of_another_name_is_not_taken(tls: Any) -> None:
    side = Side(tls)
    renamed = encode_session(decode_session(side.session())._replace(server_name="other.example"))
    run = side.connect(SECOND, "other.example", session=renamed)
    assert run.hellos[0].psk is not None
    assert not run.resumed


@pytest.mark.requirement("rfc8446:4.6.1:4")
def test_only_a_suite_with_the_same_hash_resumes(tls: Any) -> None:
    side = Side(tls)
    session = side.session(suites=(0x1301,))
    assert side.connect(SECOND, session=session, suites=(0x1303,)).resumed
    run = side.connect(SECOND, session=session, suites=(0x1302,))
    assert not run.resumed
    assert run.hellos[0].psk is None
    strict = ServerTls(side.credentials, suites=(0x1302,), ticket_key=KEY)
    lenient = ServerTls(side.credentials, tickets=1, ticket_key=KEY)
    session = side.session(suites=(0x1301, 0x1302), server=lenient)
    assert not side.connect(SECOND, session=session, suites=(0x1301, 0x1302), server=strict).resumed


@pytest.mark.requirement("rfc8446:4.2.11:8")
@pytest.mark.requirement("rfc8446:4.2.11:9")
# Both ends of the binder, the ticket's age, the random
@pytest.mark.parametrize("position", [-1, -32, -37, 20])
def test_a_changed_hello_breaks_the_binder(tls: Any, position: int) -> None:
    side = Side(tls)
    client, server = side.engines(session=side.session())
    client.start(SECOND)
    hello = bytearray(tls.drain(client)[0].data)
    hello[position] ^= 1
    server.feed(INITIAL, bytes(hello), SECOND)
    assert tls.alerts(tls.drain(server)) == [51]


def test_a_client_takes_a_bounded_number_of_tickets(tls: Any) -> None:
    side = Side(tls, server={"tickets": MAX_SESSION_TICKETS})
    run = side.connect()
    run.server.send_ticket(0)
    more = tls.drain(run.server)
    assert len(run.tickets) == len(more) == MAX_SESSION_TICKETS
    for event in more:
        run.client.feed(APPLICATION, event.data, 0)
    assert tls.drain(run.client) == []


def ticket(**fields: Any) -> bytes:
    values = {"lifetime": 10, "age_add": 0, "nonce": b"", "ticket": b"t", "early_data": False, **fields}
    return messages.encode_new_session_ticket(messages.NewSessionTicket(**values))


@pytest.mark.requirement("rfc9001:4.5:1")
@pytest.mark.requirement("rfc8446:C.4:1")
@pytest.mark.parametrize("retried", [False, True], ids=["", "HelloRetryRequest"])
def test_a_ticket_is_offered_to_one_connection(tls: Any, retried: bool) -> None:
    """By one configuration, however many connections it serves; a connection's second ClientHello has it again."""
    side = Side(tls, {"groups": (X25519, P256)}, {"groups": (P256,) if retried else (X25519,)})
    config = ClientTls(side.credentials, session=side.session(), groups=(X25519, P256))
    offered = []
    for number in range(3):
        client = config.client("localhost", b"client", random.Random(number))
        events = tls.exchange(client, side.config.server(b"server", random.Random(9)), now=SECOND)
        run = Run(client, None, *events, [], [])
        offered.append([hello.psk is not None for hello in run.hellos])
        assert run.resumed is (number == 0)
    assert offered == [[True] * (1 + retried)] + [[False] * (1 + retried)] * 2


@pytest.mark.requirement("rfc9001:9.2:2")
@pytest.mark.parametrize("opaque", [b"\0", b"\xff" * 1000, bytes(range(256))])
def test_whatever_a_ticket_says_is_given_back_as_it_came(tls: Any, opaque: bytes) -> None:
    side = Side(tls)
    run = side.connect()
    run.client.feed(APPLICATION, ticket(ticket=opaque), 0)
    (event,) = tls.drain(run.client)
    (hello,) = side.connect(SECOND, session=event.blob).hellos
    assert hello.psk is not None
    assert [identity for identity, _ in hello.psk.identities] == [opaque]


def test_a_ticket_without_a_lifetime_is_dropped(tls: Any) -> None:
    run = Side(tls).connect()
    run.client.feed(APPLICATION, ticket(lifetime=0), 0)
    assert tls.drain(run.client) == []
    run.client.feed(APPLICATION, ticket(lifetime=1), 0)
    assert [type(event) for event in tls.drain(run.client)] == [SessionTicket]


@pytest.mark.requirement("rfc9001:4.6.1:2")
@pytest.mark.parametrize(("size", "violations"), [(b"\xff\xff\xff\xff", []), (b"\xff\xff\xff\xfe", [True])])
def test_early_data_of_another_size_is_a_protocol_violation(tls: Any, size: bytes, violations: list[bool]) -> None:
    run = Side(tls).connect()
    message = ticket(early_data=True)
    assert message.endswith(b"\xff\xff\xff\xff")
    run.client.feed(APPLICATION, message[:-4] + size, 0)
    assert [event.protocol_violation for event in tls.drain(run.client) if isinstance(event, Alert)] == violations


@pytest.mark.requirement("rfc9001:4.6.1:1")
def test_a_server_allows_early_data_without_a_limit_or_not_at_all(tls: Any) -> None:
    for early_data in (True, False):
        (sent,) = Side(tls, server={"early_data": early_data}).connect().sent
        parsed = messages.parse_new_session_ticket(sent.data[4:])
        assert parsed.early_data is early_data
        assert sent.data.endswith(b"\x00\x2a\x00\x04\xff\xff\xff\xff") is early_data


@pytest.mark.parametrize("blob", [b"", b"QSS\x01", b"QSS\x02" + bytes(99), bytes(99)])
def test_a_session_that_is_none_is_refused(tls: Any, blob: bytes) -> None:
    with pytest.raises(ConfigError, match="session"):
        ClientTls(tls.credentials("p256"), session=blob)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tickets": 9}, "tickets = 9"),
        ({"tickets": -1}, "tickets = -1"),
        ({"ticket_lifetime": 604_801}, "ticket_lifetime"),
        ({"ticket_key": b"short"}, "ticket_key has 5 bytes"),
        ({"psk_modes": ()}, "psk_modes"),
        ({"psks": (ExternalPsk(b"a", KEY), ExternalPsk(b"a", KEY))}, "psks"),
    ],
)
def test_a_configuration_that_can_not_work_is_refused(tls: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServerTls(tls.credentials("p256"), **fields)


# 0-RTT


EARLY_FIELDS = {"client": {"early_data": True}, "server": {"early_data": True}}


def test_early_data_is_accepted_and_both_ends_have_its_secret(tls: Any) -> None:
    side = Side(tls, **EARLY_FIELDS)
    run = side.connect(SECOND, session=side.session())
    assert run.resumed
    assert run.early() == ([True], [True])
    (mine,), (theirs,) = early_secrets(run.client_events), early_secrets(run.server_events)
    assert (mine.secret, mine.direction) == (theirs.secret, WRITE)
    assert theirs.direction == READ
    labels = [
        [event.label for event in events if isinstance(event, KeyLog)]
        for events in (run.client_events, run.server_events)
    ]
    assert labels[0].count("CLIENT_EARLY_TRAFFIC_SECRET") == labels[1].count("CLIENT_EARLY_TRAFFIC_SECRET") == 1
    kinds = [type(event) for event in run.client_events[:4]]
    assert kinds == [HandshakeBytes, RememberedParameters, KeyLog, NewSecret]
    assert RememberedParameters(b"server", "quicsim") in run.client_events


@pytest.mark.requirement("rfc8446:4.2.10:1")
@pytest.mark.requirement("rfc8446:4.2.10:2")
def test_early_data_goes_with_the_first_key(tls: Any) -> None:
    shared = ExternalPsk(b"us", KEY)
    side = Side(tls, {"early_data": True, "psks": (shared,)}, {"early_data": True})
    session = side.session(psks=())
    (hello,) = side.connect(SECOND, session=session).hellos
    assert hello.psk is not None
    assert EARLY_DATA in hello.extensions
    assert [identity for identity, _ in hello.psk.identities] == [decode_session(session).ticket, b"us"]


@pytest.mark.requirement("rfc8446:E.5:3")
@pytest.mark.parametrize(("client", "server"), [(False, True), (True, False)])
def test_early_data_needs_the_will_of_both_ends(tls: Any, client: bool, server: bool) -> None:
    side = Side(tls, {"early_data": client}, {"early_data": server})
    run = side.connect(SECOND, session=side.session())
    assert run.resumed
    assert run.early() == ([], [])
    assert early_secrets(run.client_events) == early_secrets(run.server_events) == []


@pytest.mark.requirement("rfc8446:8:3")
def test_a_ticket_is_good_for_early_data_once(tls: Any) -> None:
    side = Side(tls, **EARLY_FIELDS)
    session = side.session()
    first, again = (side.connect(SECOND, session=session) for _ in range(2))
    assert first.early() == ([True], [True])
    assert again.resumed
    assert again.early() == ([False], [False])
    assert early_secrets(again.server_events) == []


@pytest.mark.requirement("rfc9001:8.3:1")
def test_no_end_of_early_data_is_sent_or_awaited(tls: Any) -> None:
    side = Side(tls, **EARLY_FIELDS)
    run = side.connect(SECOND, session=side.session())
    assert run.early() == ([True], [True])
    sent = [event for event in run.client_events if isinstance(event, HandshakeBytes)]
    kinds = [(event.level, event.data[0], len(event.data) - 4) for event in sent]
    assert kinds[1:] == [(HANDSHAKE, extensions.FINISHED, 32)]
    assert kinds[0][:2] == (INITIAL, extensions.CLIENT_HELLO)
    assert run.resumed


@pytest.mark.requirement("rfc9001:9.2:1")
def test_a_replayed_hello_is_stale_when_the_register_has_forgotten_it(tls: Any) -> None:
    side = Side(tls, **EARLY_FIELDS)
    client, _ = side.engines(session=side.session())
    client.start(SECOND)
    hello = tls.drain(client)[0].data
    accepted = []
    for now in (1, 2, 12, 20, 21, 22, 40, 100):
        server = side.config.server(b"server", random.Random(now))
        server.feed(INITIAL, hello, now * SECOND)
        accepted += [event.accepted for event in tls.drain(server) if isinstance(event, EarlyData)]
    assert accepted == [True, *[False] * 7]


@pytest.mark.requirement("rfc8446:4.2.10:3")
@pytest.mark.requirement("rfc8446:4.2.10:4")
@pytest.mark.parametrize(("delay", "accepted"), [(10 * SECOND, True), (10 * SECOND + 1, False)])
def test_early_data_must_be_fresh(tls: Any, delay: int, accepted: bool) -> None:
    side = Side(tls, **EARLY_FIELDS)
    client, server = side.engines(session=side.session())
    client.start(60 * SECOND)
    server.feed(INITIAL, tls.drain(client)[0].data, 60 * SECOND + delay)
    events = tls.drain(server)
    assert [event.accepted for event in events if isinstance(event, EarlyData)] == [accepted]
    assert HandshakeInfo("quicsim", "localhost", resumed=True) in events


@pytest.mark.requirement("rfc8446:8.2:3")
def test_a_server_that_started_anew_waits_before_it_accepts_early_data(tls: Any) -> None:
    side = Side(tls, {"early_data": True}, {"early_data": True, "ticket_key": KEY})
    sessions = [side.session() for _ in range(3)]
    anew = ServerTls(side.credentials, tickets=1, early_data=True, ticket_key=KEY)
    outcomes = [
        side.connect(now * SECOND, session=session, server=anew).early()[1]
        for now, session in zip((100, 119, 120), sessions, strict=True)
    ]
    assert outcomes == [[False], [False], [True]]


@pytest.mark.requirement("rfc8446:4.2.10:8")
@pytest.mark.requirement("rfc8446:4.2.10:10")
@pytest.mark.parametrize(
    "change",
    [
        {"server": {"alpn": ("b", "a")}},
        {"server": {"suites": (0x1303,)}},
        {"parameters": b"others"},
        {"server": {"groups": (P256,)}},
    ],
    ids=["ALPN", "suite", "transport parameters", "HelloRetryRequest"],
)
def test_early_data_is_refused_when_something_else_was_negotiated(tls: Any, change: dict[str, Any]) -> None:
    common = {"early_data": True, "ticket_key": KEY, "tickets": 1}
    server = {"alpn": ("a", "b"), **common}
    side = Side(tls, {"early_data": True, "alpn": ("a", "b"), "groups": (X25519, P256)}, server)
    session = side.session()
    side.connect(30 * SECOND, session=side.session(29 * SECOND))  # the new server's register is complete
    changed = {**change, "server": ServerTls(side.credentials, **{**server, **change.get("server", {})})}
    changed["server"].office.open(b"", 0)
    run = side.connect(60 * SECOND, session=session, **changed)
    assert run.resumed
    assert run.early() == ([False], [False])
    assert early_secrets(run.server_events) == []


@pytest.mark.requirement("rfc8446:4.2.10:6")
def test_after_a_retry_the_session_is_still_resumed(tls: Any) -> None:
    side = Side(tls, {"groups": (X25519, P384), "early_data": True}, {"groups": (P384,), "early_data": True})
    session = side.session()
    run = side.connect(SECOND, session=session)
    assert run.resumed
    first, second = run.hellos
    assert EARLY_DATA in first.extensions
    assert EARLY_DATA not in second.extensions
    assert first.psk is not None
    assert second.psk is not None
    assert first.psk.identities == second.psk.identities
    assert first.psk.binders != second.psk.binders


@pytest.mark.requirement("rfc8446:4.1.4:11")
def test_after_a_retry_only_keys_of_its_suites_hash_are_offered(tls: Any) -> None:
    keys = (ExternalPsk(b"short", KEY), ExternalPsk(b"long", KEY, "sha384"))
    fields = {"groups": (X25519, P384), "psks": keys}
    run = Side(tls, fields, {"groups": (P384,), "suites": (0x1302,)}).connect()
    offered = [[identity for identity, _ in hello.psk.identities] for hello in run.hellos if hello.psk]
    assert offered == [[b"short", b"long"], [b"long"]]


# A server that answers resumption wrongly


def resuming(tls: Any, **fields: Any) -> tuple[Any, ClientHello]:
    side = Side(tls, {"early_data": True, **fields}, {"early_data": True})
    client, _ = side.engines(session=side.session())
    client.start(SECOND)
    return client, parse_client_hello(tls.drain(client)[0].data[4:])


@pytest.mark.requirement("rfc8446:4.2.11:11")
@pytest.mark.requirement("rfc8446:4.2.11:12")
@pytest.mark.parametrize(
    ("suite", "share", "psk", "alerts"),
    [
        (0x1301, True, 0, []),
        (0x1301, True, 1, [47]),
        (0x1302, True, 0, [47]),
        (0x1301, False, 0, [47]),
        (0x1301, False, None, [109]),
    ],
    ids=["good", "out of range", "other hash", "no share", "neither"],
)
def test_a_client_checks_the_choice_of_its_key(
    tls: Any, suite: int, share: bool, psk: int | None, alerts: list[int]
) -> None:
    client, _ = resuming(tls)
    answer = (X25519, bytes(range(32))) if share else None
    client.feed(INITIAL, encode_server_hello(bytes(32), suite, answer, psk), SECOND)
    assert tls.alerts(tls.drain(client)) == alerts


@pytest.mark.requirement("rfc8446:4.2.11:13")
@pytest.mark.requirement("rfc8446:4.2.11:14")
def test_early_data_that_goes_with_another_key_is_refused(tls: Any) -> None:
    shared = ExternalPsk(b"us", KEY)
    side = Side(tls, {"early_data": True, "psks": (shared,)}, {"early_data": True, "psks": (shared,)})
    session = side.session(psks=())
    other = ServerTls(side.credentials, psks=(shared,))

    def accept(level: int, data: bytes) -> bytes:
        if level != HANDSHAKE:
            return data
        length = int.from_bytes(data[1:4])
        block = data[6 : 4 + length] + extensions.encode_extension(EARLY_DATA, b"")
        body = len(block).to_bytes(2) + block
        return messages.encode_message(8, body) + data[4 + length :]

    client, server = side.engines(session=session, server=other)
    client_events, _ = tls.exchange(client, server, tamper=accept, now=SECOND)
    assert tls.alerts(client_events) == [47]


# A client that offers keys wrongly

SHARED = ExternalPsk(b"us", KEY)


def offer(identities: list[tuple[bytes, int]], binders: list[bytes]) -> bytes:
    listed = b"".join(len(name).to_bytes(2) + name + age.to_bytes(4) for name, age in identities)
    proofs = b"".join(bytes((len(binder),)) + binder for binder in binders)
    return len(listed).to_bytes(2) + listed + len(proofs).to_bytes(2) + proofs


@pytest.mark.parametrize(
    ("body", "alert"),
    [
        (offer([(b"us", 0)], [bytes(32)]), 51),
        (offer([(b"us", 0), (b"x", 0)], [bytes(32)]), 47),
        (offer([(b"us", 0)], [bytes(32), bytes(32)]), 47),
        (offer([(b"us", 0)], [bytes(31)]), 50),
        (offer([(b"", 0), (b"us", 0)], [bytes(32)] * 2), 50),
        (offer([], []), 50),
        (offer([(b"us", 0)], [bytes(32)]) + b"\x00", 50),
        (offer([(b"unknown", 0)], [bytes(32)]), None),
    ],
    ids=["wrong binder", "too few", "too many", "short", "nameless", "empty", "trailing", "unknown"],
)
def test_a_server_checks_what_is_offered(tls: Any, body: bytes, alert: int | None) -> None:
    server = ServerTls(tls.credentials("p256"), psks=(SHARED,)).server(b"server", random.Random(1))
    server.feed(INITIAL, tls.client_hello({PSK_KEY_EXCHANGE_MODES: b"\x01\x01", PRE_SHARED_KEY: body}), 0)
    assert tls.alerts(tls.drain(server)) == ([] if alert is None else [alert])


@pytest.mark.parametrize(
    ("change", "alert"),
    [({EARLY_DATA: b""}, 47), ({EARLY_DATA: b"\x00"}, 50), ({PSK_KEY_EXCHANGE_MODES: b"\x00"}, 50)],
    ids=["early data without a key", "early data with a body", "no modes"],
)
def test_a_server_checks_the_extensions_beside(tls: Any, change: dict[int, bytes | None], alert: int) -> None:
    server = ServerTls(tls.credentials("p256")).server(b"server", random.Random(1))
    server.feed(INITIAL, tls.client_hello(change), 0)
    assert tls.alerts(tls.drain(server)) == [alert]


# External keys


@pytest.mark.parametrize("hash_name", ["sha256", "sha384"])
def test_an_external_key_authenticates_both_ends(tls: Any, hash_name: str) -> None:
    key = ExternalPsk(b"us", KEY, hash_name)
    run = Side(tls, {"psks": (ExternalPsk(b"them", KEY), key)}, {"psks": (key,)}).connect()
    assert not run.resumed
    assert run.client_events[-1] == Completed(())
    suites = {event.suite for event in run.client_events if isinstance(event, NewSecret)}
    assert {SUITES[suite] for suite in suites} == {hash_name}
    assert all(age == 0 for _, age in run.hellos[0].psk.identities)  # type: ignore[union-attr]


def test_a_session_that_began_with_an_external_key_resumes(tls: Any) -> None:
    side = Side(tls, {"psks": (SHARED,)}, {"psks": (SHARED,)})
    session = side.session()
    assert side.connect(SECOND, session=session).resumed
    assert not side.connect(SECOND, session=session, psks=()).resumed


def test_another_key_of_the_same_name_is_refused(tls: Any) -> None:
    run = Side(tls, {"psks": (ExternalPsk(b"us", KEY[::-1]),)}, {"psks": (SHARED,)}).connect()
    assert run.alerts == ([], [51])


@pytest.mark.requirement("rfc8446:4.2.9:7")
@pytest.mark.parametrize(
    ("client", "server", "mode"),
    [
        ((PSK_KE,), (PSK_DHE_KE, PSK_KE), PSK_KE),
        ((PSK_DHE_KE, PSK_KE), (PSK_KE,), PSK_KE),
        ((PSK_KE, PSK_DHE_KE), (PSK_DHE_KE, PSK_KE), PSK_DHE_KE),
        ((PSK_KE,), (PSK_DHE_KE,), None),
    ],
)
def test_the_mode_is_one_that_both_want(
    tls: Any, client: tuple[int, ...], server: tuple[int, ...], mode: int | None
) -> None:
    run = Side(tls, {"psks": (SHARED,), "psk_modes": client}, {"psks": (SHARED,), "psk_modes": server}).connect()
    assert run.alerts == ([], [])
    assert isinstance(run.client_events[-1], Completed)
    assert (run.client_events[-1].peer_certificates == ()) == (mode is not None)
    (hello,) = [
        event.data for event in run.server_events if isinstance(event, HandshakeBytes) and event.level == INITIAL
    ]
    assert (b"\x00\x33\x00\x24\x00\x1d" in hello) == (mode != PSK_KE)
    assert (len(early_secrets(run.client_events))) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"identity": b"", "key": KEY}, "identity"),
        ({"identity": bytes(1001), "key": KEY}, "identity"),
        ({"identity": b"a", "key": bytes(15)}, "key"),
        ({"identity": b"a", "key": KEY, "hash_name": "md5"}, "hash_name"),
    ],
)
def test_an_external_key_that_can_not_be_used_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExternalPsk(**fields)


# RFC 8448, section 4


def test_the_trace_of_rfc_8448_section_4(trace_of: Any) -> None:
    before, trace = trace_of(3), trace_of(4)
    issued = before.message("server", "NewSessionTicket")  # with a limit of 0-RTT that QUIC does not know
    nonce, ticket = issued[13:15], issued[17 : 17 + 0xB2]
    secret = bytes.fromhex(before.fields("client", 'derive secret "tls13 res')["expanded"])
    key = KeySchedule("sha256").resumption_key(secret, nonce)
    assert key == bytes.fromhex(before.fields("server", "generate resumption")["expanded"])
    prefix = bytes.fromhex(trace.fields("client", "calculate PSK binder")["ClientHello prefix"])
    binder = bytes.fromhex(trace.fields("client", "calculate PSK binder")["finished"])
    check_binder(key, "sha256", False, binder, prefix)
    hello = bytes.fromhex(trace.fields("client", "send handshake record")["payload"])
    parsed = parse_client_hello(hello[4:])
    assert parsed.psk is not None
    assert parsed.psk.binders == (binder,)
    assert hello[: -parsed.psk.binders_length] == prefix
    assert parsed.psk.identities[0][0] == ticket
    schedule = KeySchedule("sha256", key)
    schedule.add_message(hello)
    assert schedule.derive(b"c e traffic") == trace.secret('derive secret "tls13 c e', who="client")
