"""What clients can make a server's tickets cost: replays and identities without end are bounded."""

import random
from typing import Any

import pytest

from stack.limits import EARLY_DATA_AGE_TOLERANCE_NS, MAX_PSK_IDENTITIES
from stack.tls.config import ServerTls
from stack.tls.engine import INITIAL
from stack.tls.extensions import PRE_SHARED_KEY, PSK_KEY_EXCHANGE_MODES
from stack.tls.tickets import Ticket, TicketOffice

LIMIT = 50


@pytest.mark.requirement("rfc8446:8:3")
def test_the_register_of_used_tickets_is_bounded_and_freed(patch_stack: pytest.MonkeyPatch) -> None:
    """While it is full, 0-RTT is refused: what can't be remembered could be replayed."""
    patch_stack.setattr("stack.tls.tickets.MAX_STRIKES", LIMIT)
    office, rng = TicketOffice(None), random.Random(1)
    ticket = Ticket(b"", 0x1301, 0, 0, True, bytes(32), "", None, b"", ())
    sealed = [office.seal(ticket, rng) for _ in range(3 * LIMIT)]
    now = 3 * EARLY_DATA_AGE_TOLERANCE_NS  # the register is complete
    assert [office.strike(data, ticket, now) for data in sealed] == [True] * LIMIT + [False] * 2 * LIMIT
    later = now + 2 * EARLY_DATA_AGE_TOLERANCE_NS
    assert office.strike(sealed[-1], ticket, later)
    assert not office.strike(sealed[-1], ticket, later)


def test_a_server_tries_few_of_the_keys_that_a_client_offers(tls: Any, patch_stack: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []
    patch_stack.setattr(TicketOffice, "open", lambda office, data, now: opened.append(data))
    names = [bytes((number,)) * 40 for number in range(150)]
    listed = b"".join(len(name).to_bytes(2) + name + bytes(4) for name in names)
    proofs = (b"\x20" + bytes(32)) * len(names)
    body = len(listed).to_bytes(2) + listed + len(proofs).to_bytes(2) + proofs
    server = ServerTls(tls.credentials("p256")).server(b"server", random.Random(1))
    server.feed(INITIAL, tls.client_hello({PSK_KEY_EXCHANGE_MODES: b"\x01\x01", PRE_SHARED_KEY: body}), 0)
    assert opened == names[:MAX_PSK_IDENTITIES]
