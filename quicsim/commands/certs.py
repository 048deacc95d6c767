"""`quicsim certs`: an authority of one's own and a certificate of it."""

from datetime import UTC, datetime
from pathlib import Path
from random import Random, SystemRandom
from typing import Annotated, Final

import typer

from quicsim.authority import KeyKind, issue, write_files
from quicsim.commands.exits import BAD_INPUT, Failure
from stack.errors import ConfigError

_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


def certs(
    directory: Annotated[Path, typer.Argument(help="Where to write the files; made if it is missing.")] = Path("."),
    name: Annotated[
        list[str] | None,
        typer.Option(help="Host name or address of the leaf; repeatable.", show_default=", ".join(_LOCAL_NAMES)),
    ] = None,
    key: Annotated[
        KeyKind, typer.Option(help="Kind of all keys. Our own TLS engine verifies no chain of Ed25519 keys: pin them.")
    ] = KeyKind.ECDSA,
    chain: Annotated[int, typer.Option(help="Certificates to send: the leaf and those between it and the root.")] = 1,
    days: Annotated[int, typer.Option(help="How long they are valid.")] = 365,
    begin: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day of validity (UTC).", show_default="today"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Make the same bytes for the same seed and --from; whoever knows it has the keys.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Make a certificate authority and a certificate of it, for servers and clients: PEM files.

    ca.pem is the root to trust, cert.pem the chain to show, leaf first, key.pem its key; ca-key.pem is the root's key.
    """
    try:
        if seed is not None and key is KeyKind.RSA:
            raise ConfigError(f"--seed {seed}: RSA keys can't be made from a seed; must go with --key ecdsa or ed25519")
        if seed is not None and begin is None:
            raise ConfigError(f"--seed {seed}: needs --from, since the bytes depend on the date too")
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        rng = SystemRandom() if seed is None else Random(seed)
        issued = issue(name or list(_LOCAL_NAMES), begin or today, rng, kind=key, length=chain, days=days)
        files = issued.files()
        write_files(directory, files, force)
    except ConfigError as error:
        raise Failure(BAD_INPUT, str(error)) from None
    for file in files:
        print(directory / file)
