"""Calls of the CloudMix API, signed.

Ours and not the vendor's SDK: that blocks, keeps one key for the whole process, and brings protobuf and a cipher
library for what is one POST and five HMACs.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Struct, field

from schemas.errors import ErrorInfo, Unavailable
from services.cloud_mix_proxy.edge.signature import Request, sign
from shared.urls import redact, scrub

VERSION: Final = "2023-01-01"
_CALL_SECONDS: Final = 10.0  # what the API's own clients wait
_MAX_ANSWER_BYTES: Final = 1 << 20
_MAX_MESSAGE_CHARACTERS: Final = 300  # of a stranger's text
_MAX_SCRUBBED_CHARACTERS: Final = 16_384
_TOO_MANY: Final = 429


class _Error(Struct):
    code: str = field(name="Code", default="")
    message: str = field(name="Message", default="")


class _Metadata(Struct):
    error: _Error | None = field(name="Error", default=None)


class _Result(Struct):
    code: int = field(name="Code", default=0)
    message: str = field(name="Message", default="")
    data: Any = field(name="Data", default=None)


class _Answer(Struct):
    metadata: _Metadata = field(name="ResponseMetadata", default_factory=_Metadata)
    result: _Result | None = field(name="Result", default=None)


class CallRefused(Exception):
    """The cloud has answered, and says no; has the `error`."""

    def __init__(self, error: ErrorInfo) -> None:
        super().__init__(error.message)
        self.error = error


class CloudClient:
    """One cloud, one key."""

    def __init__(self, url: str, access_key: str, secret_key: str, region: str) -> None:
        self._url, self._access_key, self._secret_key, self._region = url, access_key, secret_key, region
        self._host = urlsplit(url).netloc
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, action: str, body: Struct | dict[str, Any], secret: Sequence[str] = ()) -> Any:
        """What `Data` of the answer is. `secret`: URLs in the body that an error must not repeat.

        Raises:
            CallRefused: the cloud does not do it; asking again would not help.
            Unavailable: it does not answer, not now, or not as this API does.
        """
        data = msgspec.json.encode(body)
        query = f"Action={action}&Version={VERSION}"
        date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        signed = (("Content-Type", "application/json"), ("Host", self._host), ("X-Date", date))
        request = Request("POST", "/", query, signed, data)
        headers = dict(signed)
        headers["Authorization"] = sign(request, self._access_key, self._secret_key, self._region, date)
        session = self._session = self._session or aiohttp.ClientSession()
        what = f"{action} at {redact(self._url)[0]}"
        try:
            async with (
                asyncio.timeout(_CALL_SECONDS),
                session.post(f"{self._url}/?{query}", data=data, headers=headers, allow_redirects=False) as response,
            ):
                status, answer = response.status, await response.content.read(_MAX_ANSWER_BYTES)
                while (more := await response.content.read(_MAX_ANSWER_BYTES)) and len(answer) < _MAX_ANSWER_BYTES:
                    answer += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{what}: no answer ({type(error).__name__})") from None
        return _data(what, status, answer, secret)


def _data(what: str, status: int, body: bytes, secret: Sequence[str]) -> Any:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unavailable(f"{what}: answered {status} with something else than this API does") from None
    result, error = answer.result, answer.metadata.error
    if status == 200 and error is None and result is not None and result.code in (0, 200):
        return result.data
    said = f"{error.code}: {error.message}" if error else result.message if result else "no reason"
    text = f"{what}: answered {status}, {printable(said, secret)}"
    if status >= 500 or status == _TOO_MANY:
        raise Unavailable(text)
    raise CallRefused(ErrorInfo(code=status if status >= 400 else 400, message=text))


def printable(text: str, secret: Sequence[str]) -> str:
    """Text of a stranger as it may be shown: bounded, in one line, without what is secret in those URLs."""
    scrubbed = scrub(text[:_MAX_SCRUBBED_CHARACTERS], secret)
    return "".join(letter if letter.isprintable() else " " for letter in scrubbed)[:_MAX_MESSAGE_CHARACTERS]
