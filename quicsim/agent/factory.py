"""The factory of engines that ask an agent, and an agent in the same process for simulations and tests."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from quicsim.agent.agent import Agent, Log
from quicsim.agent.consumer import Handshakes, TlsHandshakeArgs
from quicsim.agent.engine import AgentEngine
from quicsim.agent.keys import Keys
from quicsim.agent.watchers import PollWatcher
from stack.errors import ConfigError
from stack.randomness import Randomness
from stack.tls.config import DEFAULT_ALPN
from stack.tls.engine import LocalTransportParameters
from stack.tls.schedule import SUITES
from stack.tls.session import Use, decode_session

ANON = "anon"
X509 = "x509"
PSK = "psk"


@dataclass(frozen=True, slots=True)
class AgentTls:
    """Makes engines whose handshakes an agent does. What they trust and show are keys of the agent.

    `auth`: a client proves nothing about itself ("anon"), has a certificate ("x509") or shares a key ("psk"); servers
    have the latter two, and "anon" means "x509". `my_cert`, `my_privkey`, `my_peerids` and `keyring` are serial numbers
    as in `TlsHandshakeArgs`. The agent gives up after `timeout_ms`, if that is not 0.

    `session` is what a NewSession event gave, to resume that session, once; `receive_session_ticket` is how many
    seconds a client's agent waits for a ticket, 0 not to want one. With `early_data`, a client offers 0-RTT if the
    session allows it, and a server's tickets serve for it, once. `certificate_request`: a server asks clients for a
    certificate never (0), of those that have one (1), or of all (2).

    `suite` is the only cipher suite (0x1301 …) to use; 0 leaves it to the agent. Raises ConfigError for values that
    can't be meant.
    """

    handshakes: Handshakes
    alpn: tuple[str, ...] = DEFAULT_ALPN
    auth: str = ANON
    my_cert: int = 0
    my_privkey: int = 0
    my_peerids: tuple[int, ...] = ()
    keyring: int = 0
    timeout_ms: int = 10_000
    session: bytes | None = field(default=None, repr=False)
    receive_session_ticket: int = 0
    certificate_request: int = 0
    early_data: bool = False
    suite: int = 0
    use: Use = field(init=False, repr=False, compare=False, default_factory=Use)

    def __post_init__(self) -> None:
        if self.auth not in (ANON, X509, PSK):
            raise ConfigError(f'auth = {self.auth!r}: must be "{ANON}", "{X509}" or "{PSK}"')
        if not self.alpn or not all(1 <= len(name.encode()) <= 255 and "," not in name for name in self.alpn):
            raise ConfigError(f"alpn = {self.alpn!r}: must be one or more names of 1 to 255 bytes without commas")
        if not 0 <= self.certificate_request <= 2:
            raise ConfigError(f"certificate_request = {self.certificate_request}: must be from 0 to 2")
        if not 0 <= self.receive_session_ticket <= 255:
            raise ConfigError(f"receive_session_ticket = {self.receive_session_ticket}: must be from 0 to 255 seconds")
        if self.suite and self.suite not in SUITES:
            known = ", ".join(f"0x{suite:04x}" for suite in SUITES)
            raise ConfigError(f"suite = 0x{self.suite:04x}: must be one of {known}, or 0")
        if self.session is not None:
            decode_session(self.session)

    def client(
        self, server_name: str | None, transport_parameters: LocalTransportParameters, rng: Randomness
    ) -> AgentEngine:
        """Return an engine that speaks as client to `server_name`."""
        return AgentEngine(self, True, server_name, transport_parameters)

    def server(self, transport_parameters: LocalTransportParameters, rng: Randomness) -> AgentEngine:
        """Return an engine that speaks as server."""
        return AgentEngine(self, False, None, transport_parameters)

    def submit(self, args: TlsHandshakeArgs, is_client: bool) -> int:
        """Submit a request; return 0 or a negative errno."""
        handshakes = self.handshakes
        if is_client:
            by_auth = {
                ANON: handshakes.tls_client_hello_anon,
                X509: handshakes.tls_client_hello_x509,
                PSK: handshakes.tls_client_hello_psk,
            }
            return by_auth[self.auth](args)
        return handshakes.tls_server_hello_psk(args) if self.auth == PSK else handshakes.tls_server_hello_x509(args)


class LocalAgent:
    """An agent in this process, which answers whenever an engine asks for events: in simulations and tests.

    With a seeded `rng` it is exact; see `deterministic` of `Agent`.
    """

    def __init__(self, keys: Keys, rng: Randomness, clock: Callable[[], int], log: Log, max_pending: int = 50) -> None:
        """`clock` gives ns; for the others see `Agent` and `Handshakes`."""
        self.watcher = PollWatcher()
        self.agent = Agent(keys, self.watcher, rng, clock, log, deterministic=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.agent.attach(theirs)
        self.handshakes = Handshakes(ours, self.watcher, max_pending)

    def close(self) -> None:
        """End everything, so that engines see it."""
        self.agent.close()
        self.handshakes.close()
        self.watcher.run()
