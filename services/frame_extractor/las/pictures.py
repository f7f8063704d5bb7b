"""`http_url` of a picture, and `/frames/<token>` behind it: the object store's own link, or one to this port."""

import asyncio
import hashlib
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import BinaryIO, Final, Protocol
from urllib.parse import quote

from aiohttp import web

from services.frame_extractor.las.failures import PICTURE_NOT_FOUND, RATE_LIMIT, Refused
from services.frame_extractor.las.links import Links
from services.frame_extractor.storage.errors import StorageError
from shared.door.clients import Clients
from shared.door.ranges import span_of
from shared.door.sending import PiecewiseResponse, send

MAX_TRANSFERS: Final = 32
"""Pictures that are being sent at once: each is in memory."""
_MAX_PICTURE_BYTES: Final = 64 << 20  # a png of 4K has 20 MB; what is larger is for the store itself to serve
_KEPT_SECONDS: Final = 300  # by browsers, without asking: another task may write to the same place
_TYPES: Final = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_MAGIC: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n": "image/png", b"RIFF": "image/webp"}
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?", re.ASCII)


class Store(Protocol):
    """Where pictures lie."""

    def link(self, path: str, seconds: float) -> str | None:
        """The store's own link; None: it is in a folder, and read with `open_picture`. Asks nobody.

        Raises:
            StorageError: there is none.
        """

    def open_picture(self, path: str) -> BinaryIO:
        """Raises: StorageError: it is not there. Blocks."""


class Pictures:
    """Links to pictures, and the pictures of those that lead here."""

    def __init__(self, store: Store, links: Links, link_seconds: float, clients: Clients, public_url: str = "") -> None:
        """`public_url`: how clients reach this port; empty: as they said themselves in the request."""
        self._store, self._links, self._seconds = store, links, link_seconds
        self._clients, self._public_url = clients, public_url.rstrip("/")
        self._transfers = 0

    def linker(self, request: web.Request) -> Callable[[str], str]:
        """Makes links for whoever asks; may be called from another thread."""
        base = self._public_url
        if not base and _HOST.fullmatch(request.host):
            base = f"{'https' if self._clients.is_secure(request) else 'http'}://{request.host}"

        def link(path: str) -> str:
            try:
                own = self._store.link(path, self._seconds)
            except StorageError:  # of an account that was taken away meanwhile: the rest of the answer is good
                return ""
            return own or f"{base}/frames/{self._links.token(path, self._seconds)}"

        return link

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/frames/{token}", self._get)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        path, left_s = self._links.path(request.match_info["token"])
        if self._transfers >= MAX_TRANSFERS:
            raise Refused(RATE_LIMIT, f"{MAX_TRANSFERS} pictures are being sent", 1)
        self._transfers += 1
        try:
            data = await asyncio.to_thread(self._read, path)
            answer = _answer(request, PurePosixPath(path).name, data, int(left_s))
            await send(request, answer)
            return answer
        except StorageError:
            # Its text may name folders of this machine.
            raise Refused(PICTURE_NOT_FOUND, "it was removed or overwritten; submit the task again") from None
        finally:
            self._transfers -= 1

    def _read(self, path: str) -> bytes:
        try:
            with self._store.open_picture(path) as file:
                data = file.read(_MAX_PICTURE_BYTES + 1)
        except OSError as error:
            raise StorageError("storage", error.strerror or type(error).__name__) from None
        if len(data) > _MAX_PICTURE_BYTES:
            raise Refused(PICTURE_NOT_FOUND, f"it has more than {_MAX_PICTURE_BYTES} bytes; read it from where it lies")
        return data


def _answer(request: web.Request, name: str, data: bytes, left_s: int) -> web.Response | PiecewiseResponse:
    """The picture, whole or the range that is asked for (RFC 9110 sections 13 and 14)."""
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={min(left_s, _KEPT_SECONDS)}",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}",
    }
    known = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    if tag in known or "*" in known:
        return web.Response(status=304, headers=headers)
    span = span_of(request.headers.get("Range", ""), len(data))
    if span is None or request.headers.get("If-Range", tag) != tag:
        return PiecewiseResponse(data, _type_of(name, data), headers)
    if span.start >= span.end:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{len(data)}"
    answer = PiecewiseResponse(memoryview(data)[span.start : span.end], _type_of(name, data), headers)
    answer.set_status(206)
    return answer


def _type_of(name: str, data: bytes) -> str:
    """By what it is: a template need not end as the picture's type does."""
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return kind
    return _TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
