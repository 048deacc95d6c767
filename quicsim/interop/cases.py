"""The interop runner's test cases: what is fetched over which network, and what must be seen (one row each)."""

from dataclasses import dataclass, field
from typing import Final

from quicsim.interop import checks, rig
from quicsim.interop.checks import Check
from quicsim.interop.rig import Network
from stack.tls.schedule import CHACHA20_POLY1305_SHA256

KB: Final = 1 << 10
MB: Final = 1 << 20

HQ: Final = "hq-interop"
H3: Final = "h3"

_NAME_LENGTH: Final = 10  # characters of a file's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test case of the interop runner.

    `client` and `server` are the TESTCASE that each end gets, `files` the sizes in bytes of what is fetched, `chain`
    how many certificates the server shows. A measurement is repeated, and its goodput told in kbit/s.
    """

    abbreviation: str
    name: str
    description: str
    client: str
    server: str
    files: tuple[int, ...]
    checks: tuple[Check, ...]
    network: Network = rig.SIMPLE
    timeout_s: int = 60
    protocol: str = HQ
    chain: int = 1
    name_length: int = _NAME_LENGTH
    repetitions: int = 1
    measured: bool = False
    cross_traffic: bool = False
    all_checks: tuple[Check, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "all_checks", (checks.files_arrived, *self.checks))


_ONE: Final = (checks.handshakes(1), checks.only_version_1)

CASES: Final = (
    Case(
        abbreviation="H",
        name="handshake",
        description="A handshake completes.",
        client="handshake",
        server="handshake",
        files=(KB,),
        checks=(*_ONE, checks.no_retry),
    ),
    Case(
        abbreviation="DC",
        name="transfer",
        description="Several files come at once on one connection, beyond the first flow control windows.",
        client="transfer",
        server="transfer",
        files=(2 * MB, 3 * MB, 5 * MB),
        checks=_ONE,
    ),
    Case(
        abbreviation="LR",
        name="longrtt",
        description="A handshake completes where the round trip takes 1.5 seconds.",
        client="handshake",
        server="handshake",
        files=(KB,),
        network=rig.LONG_DELAY,
        checks=(*_ONE, checks.client_hello_repeated),
    ),
    Case(
        abbreviation="C20",
        name="chacha20",
        description="No other cipher suite than ChaCha20-Poly1305 is offered.",
        client="chacha20",
        server="chacha20",
        files=(3 * MB,),
        checks=(*_ONE, checks.only_suite(CHACHA20_POLY1305_SHA256)),
    ),
    Case(
        abbreviation="M",
        name="multiplexing",
        description="The server raises its limit for thousands of streams on one connection.",
        client="transfer",
        server="transfer",
        files=(32,) * 1999,
        checks=(*_ONE, checks.stream_limit_at_most(1000)),
    ),
    Case(
        abbreviation="S",
        name="retry",
        description="The server asks for a proof of the client's address with a Retry.",
        client="retry",
        server="retry",
        files=(10 * KB,),
        checks=(*_ONE, checks.retry_token_used),
    ),
    Case(
        abbreviation="R",
        name="resumption",
        description="A second connection resumes the session of the first.",
        client="resumption",
        server="resumption",
        files=(5 * KB, 10 * KB),
        checks=(checks.handshakes(2), checks.only_version_1, checks.resumed),
    ),
    Case(
        abbreviation="Z",
        name="zerortt",
        description="The requests of a second connection go as 0-RTT.",
        client="zerortt",
        server="zerortt",
        files=(32,) * 40,
        name_length=250,
        checks=(checks.handshakes(2), checks.only_version_1, checks.early_data_sent(limit=5000)),
    ),
    Case(
        abbreviation="3",
        name="http3",
        description="Files come over HTTP/3.",
        client="http3",
        server="http3",
        protocol=H3,
        files=(5 * KB, 10 * KB, 500 * KB),
        checks=_ONE,
    ),
    Case(
        abbreviation="B",
        name="blackhole",
        description="A transfer survives when nothing passes for two seconds.",
        client="transfer",
        server="transfer",
        files=(10 * MB,),
        network=rig.BLACKHOLE,
        checks=_ONE,
    ),
    Case(
        abbreviation="U",
        name="keyupdate",
        description="Both ends update their keys.",
        client="keyupdate",
        server="transfer",
        files=(3 * MB,),
        checks=(*_ONE, checks.no_retry, checks.keys_updated),
    ),
    Case(
        abbreviation="E",
        name="ecn",
        description="Both ends mark their packets ECN capable, and report marks.",
        client="ecn",
        server="ecn",
        files=(100 * KB,),
        checks=(*_ONE, checks.no_retry, checks.ecn_used),
    ),
    Case(
        abbreviation="A",
        name="amplificationlimit",
        description="A server with a long certificate chain obeys the limit on amplification.",
        client="transfer",
        server="transfer",
        files=(5 * KB,),
        network=rig.DROP_LIST,
        chain=9,
        checks=(*_ONE, checks.long_chain_sent(7500), checks.amplification_limit_obeyed),
    ),
    Case(
        abbreviation="L1",
        name="handshakeloss",
        description="Fifty handshakes complete where 30 % of the datagrams are lost.",
        client="multiconnect",
        server="multiconnect",
        files=(KB,) * 50,
        network=rig.HIGH_LOSS,
        timeout_s=300,
        checks=(checks.handshakes(50), checks.only_version_1),
    ),
    Case(
        abbreviation="L2",
        name="transferloss",
        description="A transfer completes where 2 % of the datagrams are lost.",
        client="transfer",
        server="transfer",
        files=(2 * MB,),
        network=rig.SOME_LOSS,
        checks=_ONE,
    ),
    Case(
        abbreviation="C1",
        name="handshakecorruption",
        description="Fifty handshakes complete where 30 % of the datagrams are damaged.",
        client="multiconnect",
        server="multiconnect",
        files=(KB,) * 50,
        network=rig.HIGH_CORRUPTION,
        timeout_s=300,
        checks=(checks.handshakes(50), checks.only_version_1),
    ),
    Case(
        abbreviation="C2",
        name="transfercorruption",
        description="A transfer completes where 2 % of the datagrams are damaged.",
        client="transfer",
        server="transfer",
        files=(2 * MB,),
        network=rig.SOME_CORRUPTION,
        checks=_ONE,
    ),
    Case(
        abbreviation="6",
        name="ipv6",
        description="A transfer completes over IPv6.",
        client="transfer",
        server="transfer",
        files=(5 * KB, 10 * KB),
        network=rig.IPV6,
        checks=(*_ONE, checks.no_ipv4),
    ),
    Case(
        abbreviation="V2",
        name="v2",
        description="The server moves a client that began in version 1 to version 2.",
        client="v2",
        server="v2",
        files=(KB,),
        checks=(checks.handshakes(1), checks.upgraded_to_version_2),
    ),
    Case(
        abbreviation="BP",
        name="rebind-port",
        description="A transfer survives when a NAT changes the client's port.",
        client="transfer",
        server="transfer",
        files=(10 * MB,),
        network=rig.REBIND_PORT,
        checks=(*_ONE, checks.new_paths_validated),
    ),
    Case(
        abbreviation="BA",
        name="rebind-addr",
        description="A transfer survives when a NAT changes the client's address.",
        client="transfer",
        server="transfer",
        files=(10 * MB,),
        network=rig.REBIND_ADDRESS,
        checks=(*_ONE, checks.new_paths_validated, checks.several_client_addresses),
    ),
    Case(
        abbreviation="CM",
        name="connectionmigration",
        description="The client moves to an address that the server prefers.",
        client="transfer",
        server="connectionmigration",
        files=(2 * MB,),
        network=rig.TWO_ADDRESSES,
        checks=(*_ONE, checks.new_paths_validated, checks.new_connection_id_on_new_path),
    ),
    Case(
        abbreviation="G",
        name="goodput",
        description="Goodput of a transfer alone on the link.",
        client="transfer",
        server="transfer",
        files=(10 * MB,),
        repetitions=5,
        measured=True,
        checks=_ONE,
    ),
    Case(
        abbreviation="C",
        name="crosstraffic",
        description="Goodput of a transfer beside a TCP CUBIC flow that goes the same way.",
        client="transfer",
        server="transfer",
        files=(25 * MB,),
        timeout_s=180,
        repetitions=5,
        measured=True,
        cross_traffic=True,
        checks=_ONE,
    ),
)

BY_ABBREVIATION: Final = {case.abbreviation: case for case in CASES}
