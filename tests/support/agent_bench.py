"""An agent in this process, for a pair of endpoints in virtual time."""

import random
from typing import Any

from quicsim.agent.factory import AgentTls, LocalAgent
from quicsim.agent.keys import Keys, Policy
from quicsim.certificates import test_certificate
from stack.tls.certificates import Pinned
from stack.tls.psk import ExternalPsk
from tests.support.pair import Pair

ALICE = ExternalPsk(b"alice", bytes(range(32)))
BOB = ExternalPsk(b"bob", bytes(range(32, 64)))


class Bench:
    """A pair, and an agent in this process with its log."""

    def __init__(self, keys: Keys | None = None, policy: Policy | None = None) -> None:
        certificate = test_certificate()
        keys = keys or Keys(
            {(1, 2): certificate},
            {7: ALICE, 8: BOB},
            {0: Pinned(certificate.certificates), 5: Pinned(())},
            policy or Policy(),
        )
        self.log: list[str] = []
        self.pair: Pair | None = None
        self.local = LocalAgent(keys, random.Random(9), self.clock, self.log.append)

    def clock(self) -> int:
        """The time of the newest pair, which goes on from pair to pair."""
        return 0 if self.pair is None else self.pair.now

    def tls(self, **fields: Any) -> AgentTls:
        """A factory with fields of AgentTls."""
        return AgentTls(self.local.handshakes, **fields)

    def make(self, *, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> Pair:
        """A pair whose client or server, where given, has an agent; fields of AgentTls."""
        return self.use(
            Pair(
                client={} if client is None else {"tls": self.tls(**client)},
                server={} if server is None else {"tls": self.tls(**server)},
            )
        )

    def use(self, pair: Pair) -> Pair:
        """Go on with another pair."""
        pair.now = self.clock()
        self.pair = pair
        return pair

    def close(self) -> None:
        """End the agent."""
        self.local.close()
