"""Files over HTTP/3: GET and HEAD of what lies below a directory."""

import os
from collections.abc import Callable
from mimetypes import MimeTypes
from typing import BinaryIO, Final

from quicsim.files import BLOCK, Files, NoSuchFile, Served
from quicsim.h3.errors import Code
from quicsim.h3.server import Handler, Request
from quicsim.net import Net
from stack.errors import QuicError

_INDEX: Final = "index.html"
_TYPES: Final = MimeTypes()  # those that Python knows: the same on every machine
_PLAIN: Final = ("content-type", "text/plain; charset=utf-8")


def file_handler(net: Net, files: Files, on_served: Callable[[Served], object]) -> Handler:
    """Return a handler that gives clients `files`; `on_served` is told of every request that has ended."""

    async def handle(request: Request) -> None:
        started_at, client, size, failure = net.now, request.client, 0, ""
        try:
            size, failure = await _answer(request, files)
        except QuicError as error:
            failure = str(error)
            raise
        finally:
            duration = net.now - started_at
            on_served(Served(client, request.method, request.path, size, duration, failure))

    return handle


async def _answer(request: Request, files: Files) -> tuple[int, str]:
    """Respond, and return how many bytes of a file were sent, and why not all if so."""
    if request.method not in ("GET", "HEAD"):
        return await _refuse(request, "405 Method Not Allowed", ("allow", "GET, HEAD"))
    path = request.path.partition("?")[0]
    path += _INDEX if path.endswith("/") else ""
    try:
        file = files.open(path)
    except NoSuchFile as error:
        size, failure = await _refuse(request, "404 Not Found")
        return size, f"{failure}: {error}"
    with file:
        size = os.fstat(file.fileno()).st_size
        await request.respond(200, [("content-type", _type(path))], length=size)
        return (0, "") if request.finished else await _send(request, file, size)


async def _send(request: Request, file: BinaryIO, size: int) -> tuple[int, str]:
    """Send what the response said, no more if the file grows."""
    sent = 0
    failure = "the file has become shorter"
    try:
        while sent < size and (block := file.read(min(BLOCK, size - sent))):
            await request.write(block)
            sent += len(block)
    except OSError as error:
        failure = f"can't be read: {error.strerror}"
    if sent < size:
        request.abort(Code.H3_INTERNAL_ERROR)
        return sent, failure
    await request.finish()
    return sent, ""


async def _refuse(request: Request, status: str, *fields: tuple[str, str]) -> tuple[int, str]:
    await request.respond(int(status[:3]), [_PLAIN, *fields], content=f"{status}\n".encode())
    return 0, status


def _type(path: str) -> str:
    kind, encoding = _TYPES.guess_type(path)
    if kind is None or encoding is not None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
