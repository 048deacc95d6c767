"""A TLS engine factory that announces other transport parameters than the transport gave it."""

from collections.abc import Callable
from typing import Any

from quicsim.certificates import test_certificate
from stack.randomness import Randomness
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import Engine, LocalTransportParameters
from stack.wire.parameters import decode_transport_parameters, encode_transport_parameters

Change = Callable[[bytes], bytes]


class LyingTls:
    """An engine factory that changes the transport parameters on their way into the handshake."""

    def __init__(self, change: Change) -> None:
        credentials = test_certificate()
        self._client, self._server = ClientTls(trust=credentials), ServerTls(credentials=credentials)
        self._change = change

    def client(
        self, server_name: str | None, transport_parameters: LocalTransportParameters, rng: Randomness
    ) -> Engine:
        return self._client.client(server_name, self._changed(transport_parameters), rng)

    def server(self, transport_parameters: LocalTransportParameters, rng: Randomness) -> Engine:
        return self._server.server(self._changed(transport_parameters), rng)

    def _changed(self, parameters: LocalTransportParameters) -> LocalTransportParameters:
        if isinstance(parameters, bytes):
            return self._change(parameters)
        return lambda peer: self._change(parameters(peer))


def setting(**values: Any) -> Change:
    """Change some fields; None leaves a parameter out."""

    def change(encoded: bytes) -> bytes:
        parameters = decode_transport_parameters(encoded, from_client=False)
        for name, value in values.items():
            assert hasattr(parameters, name)
            setattr(parameters, name, value)
        return encode_transport_parameters(parameters)

    return change
