"""`Expect` of a request (RFC 9110 section 10.1.1): nothing but `100-continue` can be met."""

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

CONTINUE: Final = b"100-continue"


def without_expectation(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """A factory of requests that does not show the library an `Expect` that nobody can meet: it would say it again in
    its answer, and fails where that is no text. Refuse such a request by what came over the wire (`raw_headers`)."""

    def request(message: RawRequestMessage, *others: Any) -> web.BaseRequest:
        if message.headers.get("Expect", CONTINUE.decode()).lower() != CONTINUE.decode():
            headers = CIMultiDict(message.headers)
            headers.popall("Expect")
            message = message._replace(headers=CIMultiDictProxy(headers))
        return make(message, *others)

    return request
