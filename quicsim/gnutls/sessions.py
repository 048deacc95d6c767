"""What a client keeps of a session that GnuTLS can resume."""

from typing import Final

from stack.errors import ConfigError
from stack.tls import session as own
from stack.tls.session import Session

# In front of what `stack.tls.session` encodes; `ticket` in it is GnuTLS's data of the session, keys included
_FORMAT: Final = b"QSG\x01"


def encode_session(session: Session) -> bytes:
    """Return the blob."""
    return _FORMAT + own.encode_session(session)


def decode_session(blob: bytes) -> Session:
    """Return what `encode_session` encoded. Raises ConfigError for anything else."""
    if not blob.startswith(_FORMAT):
        raise ConfigError("session: must be what a SessionTicket event of a connection by GnuTLS gave")
    return own.decode_session(blob[len(_FORMAT) :])
