"""GnuTLS as TLS engine: another implementation in the same place, called through ctypes, optional at run time."""

from quicsim.gnutls.config import GnuTlsClient, GnuTlsServer

__all__ = ["GnuTlsClient", "GnuTlsServer"]
