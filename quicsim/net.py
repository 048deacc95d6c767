"""What an application sees of a net, simulated or real: applications are coroutines over this protocol.

async def client(net, host, certificate):
    conn = await net.connect(host, 4433, trust=certificate)
    stream = await conn.open_stream()
    await stream.write(b"hello", end=True)
    return await stream.read_all()
"""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import fields, is_dataclass
from typing import Any, Protocol, TypeVar, cast

from quicsim.connection import Connection, Listener
from quicsim.futures import Future
from stack.config import Config
from stack.errors import ConfigError, QuicError
from stack.events import NewToken
from stack.tls.certificates import Anybody, Authorities, Credentials, Pinned
from stack.tls.config import DEFAULT_ALPN, ClientTls, ServerTls
from stack.tls.engine import EngineFactory

T = TypeVar("T")
Trust = Credentials | Pinned | Authorities | Anybody


class Net(Protocol):
    """A host's access to the network, the clock included."""

    @property
    def now(self) -> int:
        """The time in ns."""
        ...

    async def sleep(self, duration: int | str) -> None:
        """Wait for `duration` (ns or text such as "25ms")."""

    def spawn(self, application: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **options: Any) -> Future[T]:
        """Run `application(net, *arguments, **options)` beside this one; await what it returns."""
        ...

    async def connect(
        self,
        host: str,
        port: int,
        *,
        trust: Trust | None,
        alpn: Iterable[str] = DEFAULT_ALPN,
        server_name: str | None = None,
        token: NewToken | None = None,
        **options: Any,
    ) -> Connection:
        """Connect to `host` (a name or an address) and return the connection when the handshake is complete.

        With options `session` and `early_data` it returns at once if the session allows 0-RTT: what is sent then may be
        replayed by others, and `established` waits for the handshake.

        `trust` says which certificates are accepted: a server's Credentials accept just its own.
        `server_name` is the name to ask for, `host` by default. `token` is one that the server gave an earlier
        connection (`Connection.token`), and serves only this one. `options` are fields of `stack.config.Config`
        and `stack.tls.config.ClientTls`; `tls` is another class in place of the latter
        (`quicsim.gnutls.GnuTlsClient`), or an object that makes engines (`quicsim.agent.factory.AgentTls`), beside
        which `trust` must be None.

        Raises ConnectionClosed when the handshake fails, ConfigError for options that can't work and
        ValueError when there is no way to `host`.
        """
        ...

    async def listen(
        self, port: int, credentials: Credentials | None, *, alpn: Iterable[str] = DEFAULT_ALPN, **options: Any
    ) -> Listener:
        """Take connections on UDP `port`, showing the certificate of `credentials`.

        `options` are fields of `stack.config.Config` and `stack.tls.config.ServerTls`; `tls` is another class in place
        of the latter, or an object that makes engines, beside which `credentials` must be None. Raises ConfigError for
        options that can't work and OSError when the port is in use.
        """
        ...


async def together(net: Net, *jobs: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run coroutines beside each other until all are done; then raise the first QuicError or OSError of theirs."""
    failures = [await task for task in [net.spawn(_attempt, job) for job in jobs]]
    for failure in failures:
        if failure is not None:
            raise failure


async def _attempt(net: Net, job: Callable[[], Coroutine[Any, Any, None]]) -> QuicError | OSError | None:
    try:
        await job()
    except (QuicError, OSError) as error:
        return error
    return None


def client_config(
    trust: Trust | None, alpn: Iterable[str], options: dict[str, Any], *, deterministic: bool = False
) -> Config:
    """Return the configuration for `Net.connect`'s arguments. Raises ConfigError.

    `deterministic` unless the options say something else, and if the class of TLS engines has such a field.
    """
    if _is_made(options, "trust", trust, alpn):
        return Config(**options)
    make, tls, own = _split(options, ClientTls, {"alpn", "trust"}, deterministic)
    return Config(tls=make(trust=trust, alpn=tuple(alpn), **tls), **own)


def server_config(
    credentials: Credentials | None, alpn: Iterable[str], options: dict[str, Any], *, deterministic: bool = False
) -> Config:
    """Return the configuration for `Net.listen`'s arguments; see `client_config`. Raises ConfigError."""
    if _is_made(options, "credentials", credentials, alpn):
        return Config(**({"accept": True} | options))
    make, tls, own = _split(options, ServerTls, {"alpn", "credentials"}, deterministic)
    return Config(tls=make(credentials=credentials, alpn=tuple(alpn), **tls), **({"accept": True} | own))


def _is_made(options: dict[str, Any], name: str, value: object, alpn: Iterable[str]) -> bool:
    """Whether `tls` is a factory already, which knows protocols and keys itself. Raises ConfigError."""
    factory = options.get("tls")
    if factory is None or isinstance(factory, type) or not hasattr(factory, "client"):
        if value is None and name == "trust":
            raise ConfigError("trust = None: must say whom to trust, unless tls is an object that knows it")
        return False
    if value is not None or tuple(alpn) != DEFAULT_ALPN:
        raise ConfigError(f"{name} and alpn: must be left to tls = {type(factory).__name__}(…), which has them")
    known = sorted(field.name for field in fields(Config))
    for option in options:
        if option not in known:
            raise ConfigError(f"option {option!r}: must be one of {', '.join(known)}")
    return True


def _split(
    options: dict[str, Any], usual: Any, set_already: set[str], deterministic: bool
) -> tuple[Callable[..., EngineFactory], dict[str, Any], dict[str, Any]]:
    """Return the class of the TLS factory, and the options split into its own and the endpoint's."""
    factory: Any = options.get("tls", usual)
    if not is_dataclass(factory) or not isinstance(factory, type):
        raise ConfigError(f"tls = {factory!r}: must be a class such as {usual.__name__}")
    tls_names = [field.name for field in fields(factory) if field.init and field.name not in set_already]
    own_names = [field.name for field in fields(Config) if field.name != "tls"]
    known = sorted(["tls", *tls_names, *own_names])
    for name in options:
        if name not in known:
            raise ConfigError(f"option {name!r}: must be one of {', '.join(known)}")
    tls = {name: value for name, value in options.items() if name in tls_names}
    if deterministic and "deterministic" in tls_names:
        tls.setdefault("deterministic", True)
    return (
        cast("Callable[..., EngineFactory]", factory),
        tls,
        {name: value for name, value in options.items() if name in own_names},
    )
