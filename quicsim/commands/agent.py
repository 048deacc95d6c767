"""`quicsim agent`: the process that does handshakes for others."""

import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from quicsim.agent.keys import load_keys
from quicsim.agent.worker import Worker
from quicsim.commands.exits import BAD_INPUT, FAILED, Failure, errors
from stack.errors import ConfigError


def agent(
    socket: Annotated[
        Path, typer.Option(metavar="PATH", help="Where consumers find the agent: a socket.", show_default=False)
    ],
    config: Annotated[
        Path, typer.Option(metavar="FILE", help="TOML file of certificates, pre-shared keys, roots and policy.")
    ],
) -> None:
    """Do TLS handshakes for QUIC connections of other processes, until Ctrl-C. Only this process reads the keys."""
    try:
        worker = Worker(socket, load_keys(config), _log)
    except ConfigError as error:
        raise Failure(BAD_INPUT, str(error)) from None
    except OSError as error:
        raise Failure(FAILED, f"{socket}: {error.strerror}") from None
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with worker, contextlib.suppress(KeyboardInterrupt):
        print(f"waiting for consumers at {socket}; Ctrl-C ends it", flush=True)
        worker.run()
    print("closed")


def _log(line: str) -> None:
    errors.print(f"quicsim: {line}")
