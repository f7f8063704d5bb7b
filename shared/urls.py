"""URLs as they may be shown: passwords, stream keys and tokens become `***`.

Works on text by position and never parses strictly, so that it also holds for broken and hostile URLs.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

MASK = "***"

# Words of a query key that mark its value as secret; `key` and `auth` are how cameras and CDNs call theirs.
_SECRET_WORD = re.compile(
    "token|key|pass|passwd|password|passphrase|pwd|secret|sig|signature|auth|authorization|streamid|credentials?|jwt",
    re.IGNORECASE,
)
_SECRET_ENDINGS = ("token", "key", "secret", "password", "passphrase", "signature", "streamid")
_TOKEN_SCHEMES = ("nats", "tls")  # what stands before the @ without a colon is a token, not a name
_SHORTEST_SCRUBBED_CHARACTERS = 4  # shorter secrets would blank out half of an innocent text

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST_PORT = re.compile(r"^(\[[^\]]*\]|[^:@\[\]]*)(:\d*)?$")
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")
_PATH_OR_LATER, _QUERY_OR_LATER, _NEXT_PAIR = re.compile("[/?#]"), re.compile("[?#]"), re.compile("[?&;#]")
_END_OF_VALUE = re.compile("[&;]")  # of a secret in a query: `?` and `#` in it were not escaped, as in streamid=#!::r=x
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s\"'<>]+")

Span = tuple[int, int]


def redact(url: str, stream_key: bool = False) -> tuple[str, bool]:
    """The URL without its secrets, and whether it had any.

    With `stream_key` the last path segment of an rtmp(s) URL that names an application, and its query, count as
    a secret. Redacting twice changes nothing: `redact(shown) == (shown, False)`. Never raises.
    """
    spans = _secret_spans(url, stream_key)
    pieces, shown_until = [], 0
    for start, end in spans:
        pieces += [url[shown_until:start], MASK]
        shown_until = end
    return "".join([*pieces, url[shown_until:]]), bool(spans)


def scrub(text: str, secret_urls: Iterable[str] = ()) -> str:
    """`text` without the secrets of `secret_urls`, and with every URL in it redacted.

    For messages of libraries and servers, which quote what they were given in whatever encoding they like.
    Of rtmp(s) URLs in `secret_urls` the stream key counts as a secret.
    """
    for url in secret_urls:
        spans = _secret_spans(url, stream_key=True)
        if spans:
            text = text.replace(url, redact(url, stream_key=True)[0])
        for secret in sorted((url[start:end] for start, end in spans), key=len, reverse=True):
            for form in {secret, unquote(secret), quote(unquote(secret), safe="")}:
                if len(form) >= _SHORTEST_SCRUBBED_CHARACTERS and form != MASK:
                    text = text.replace(form, MASK)
    return _URL_IN_TEXT.sub(lambda match: redact(match[0])[0], text)


def _secret_spans(url: str, stream_key: bool) -> list[Span]:
    """Where the secrets are: (start, end) in rising order, not overlapping, none that is masked already."""
    match = _SCHEME.match(url)
    if not match:
        return []
    scheme, start = match[1].lower(), match.end()
    host = _host_start(url, start)
    path = _first_of(url, _PATH_OR_LATER, host)
    query = _first_of(url, _QUERY_OR_LATER, path)
    spans: list[Span] = []
    if host > start:  # there is userinfo, ending with the @ before `host`
        colon = url.find(":", start, host - 1)
        if colon >= 0:
            spans.append((colon + 1, host - 1))
        elif scheme in _TOKEN_SCHEMES:
            spans.append((start, host - 1))
    key = _stream_key_span(url, path, query) if stream_key and scheme in ("rtmp", "rtmps") else None
    if key:
        spans.extend(_pair_spans(url, path, key[0] - 1))
        spans.append(key)
    else:
        spans.extend(_pair_spans(url, path, len(url)))
    return [(a, b) for a, b in spans if a < b and url[a:b] != MASK]


def _host_start(url: str, start: int) -> int:
    """Index of the host: after the last @ of the authority; an unescaped `/`, `?` or `#` in a password is seen."""
    end = _first_of(url, _PATH_OR_LATER, start)
    at = url.rfind("@", start, end)
    if at >= 0:
        return at + 1
    if not _HOST_PORT.match(url[start:end]):  # `admin:p` of rtsp://admin:p/ss@host is no host and port
        at = url.rfind("@", end)
        if at >= 0:
            return at + 1
    return start


def _stream_key_span(url: str, path: int, query: int) -> Span | None:
    end = query
    while end > path and url[end - 1] == "/":
        end -= 1
    segment = url.rfind("/", path, end) + 1
    if segment - 1 <= path:  # one segment is the application; there is no key
        return None
    return segment, len(url)


def _pair_spans(url: str, path: int, until: int) -> list[Span]:
    """Values of secret keys, in the query and, as cheap cameras have it, in the path: `/user=u&password=p`."""
    spans: list[Span] = []
    position, query = path, _first_of(url, _QUERY_OR_LATER, path)
    while position < until:
        end = min(_first_of(url, _NEXT_PAIR, position + 1), until)
        begin = position + 1
        while (equals := url.find("=", begin, end)) >= 0:
            # Some write `user=u_password=p`: a value may end with the key of the next one. Where the secret ends then
            # nobody can tell, so the rest of the piece is masked.
            if _is_secret_key(unquote(url[begin:equals].rpartition("/")[2])):
                if position >= query:
                    end = min(_first_of(url, _END_OF_VALUE, equals + 1), until)
                spans.append((equals + 1, end))
                break
            begin = equals + 1
        position = end
    return spans


def _is_secret_key(key: str) -> bool:
    return key.lower().endswith(_SECRET_ENDINGS) or any(map(_SECRET_WORD.fullmatch, _WORD.findall(key)))


def _first_of(text: str, characters: re.Pattern[str], start: int) -> int:
    """Index of the first of `characters` at or after `start`; the length of the text when there is none.

    Looks no further than that one, so that a URL of megabytes costs its length and not the square of it.
    """
    match = characters.search(text, start)
    return match.start() if match else len(text)
