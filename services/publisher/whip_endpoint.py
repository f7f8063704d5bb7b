"""The HTTP side of WHIP (RFC 9725): an offer goes out, an answer comes back, the session is deleted at the end."""

import http.client
import ipaddress
import ssl
from dataclasses import dataclass, replace
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from schemas.errors import BadRequest, Conflict, MeshError, NotFound, Unavailable
from services.publisher.failures import explain_network
from services.publisher.whip_ice_servers import IceServer, admitted, ice_servers_of
from shared.netguard import GuardedUrl, Policy, check
from shared.netguard.pinned_connection import PinnedConnection
from shared.urls import redact, scrub

POLICY = Policy(schemes=frozenset({"http", "https"}), allow_private=True)
_SDP = "application/sdp"
_MAX_REDIRECTS = 3  # to another region, to a machine of it, and one to spare
_MAX_ANSWER_BYTES = 64 * 1024  # answers have 1-4 KiB, with many candidates 10
_MAX_REASON_CHARACTERS = 120


@dataclass(frozen=True)
class WhipSession:
    """What the endpoint answered."""

    answer: str
    location: str
    """Absolute URL of the session; empty when the endpoint named none. Secret: who knows it can end the session."""
    ice_servers: tuple[IceServer, ...] = ()


def split_token(url: str) -> tuple[str, str]:
    """The URL as it is asked, and the bearer token it carried: `?token=…`, or else the password before the host."""
    parts = urlsplit(url)
    pairs = parts.query.split("&") if parts.query else []
    tokens = [unquote(pair.removeprefix("token=")) for pair in pairs if pair.startswith("token=")]
    token = tokens[0] if tokens else unquote(parts.password or "")
    query = "&".join(pair for pair in pairs if not pair.startswith("token="))
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, "")), token


class WhipEndpoint:
    """One endpoint, asked from one thread at a time; `abort` is for others. Every call blocks."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        """`url` with its token; every wait for the server is at most `timeout_seconds`."""
        self._secret_url = url
        self.asked, self._token = split_token(url)
        """The URL without its token."""
        self._origin = _origin(self.asked)
        self.shown = redact(url)[0]
        self._timeout_seconds = timeout_seconds
        self._connection: PinnedConnection | None = None
        self._beyond = POLICY
        """What the server may point to beside itself: redirects, the session, ICE servers."""
        self._aborted = False

    def offer(self, sdp: str) -> WhipSession:
        """POST an offer.

        Raises:
            MeshError: why there is no answer, free of secrets.
        """
        url, response, content = self._ask("POST", self.asked, sdp.encode())
        if response.status != 201:
            raise self._refusal(response, content)
        if response.headers.get_content_type() != _SDP:
            raise Conflict(f"{self.shown}: the server answers {response.headers.get_content_type()} instead of {_SDP}")
        location = response.headers.get("Location", "")
        return WhipSession(
            answer=content.decode(errors="replace"),
            location=urljoin(url, location) if location else "",
            ice_servers=admitted(
                ice_servers_of(response.headers.get_all("Link") or []), self._beyond, self._timeout_seconds
            ),
        )

    def delete(self, session: WhipSession) -> None:
        """End a session.

        Raises:
            MeshError: the server does not answer; it will find out by itself.
        """
        if session.location:
            self._ask("DELETE", session.location, None)

    def abort(self) -> None:
        """Make the call that waits fail soon."""
        self._aborted = True
        if self._connection is not None:
            self._connection.abort()

    def _ask(self, method: str, url: str, body: bytes | None) -> tuple[str, http.client.HTTPResponse, bytes]:
        """The answer and the URL that gave it, after redirects; each hop passes the gate."""
        self._aborted = False
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                guarded = self._check(url)
            except BadRequest as error:
                if url == self.asked:
                    raise
                # The server sent us there: it may think better of it, so this is tried again.
                raise Unavailable(f"{self.shown}: the server points to where nothing may be sent: {error}") from None
            self._beyond = _beyond(guarded, self._beyond)
            response, content = self._ask_once(method, guarded, body)
            if response.status not in (307, 308):
                return url, response, content
            url = urljoin(url, response.headers.get("Location", ""))
        raise Unavailable(f"{self.shown}: more than {_MAX_REDIRECTS} redirects")

    def _check(self, url: str) -> GuardedUrl:
        guarded = check(url, POLICY, "to", self._timeout_seconds)
        if (guarded.scheme, guarded.host, guarded.port) != self._origin:
            guarded = check(url, self._beyond, "to", self._timeout_seconds)
        return guarded

    def _ask_once(self, method: str, guarded: GuardedUrl, body: bytes | None) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {"Content-Type": _SDP, "Accept": _SDP} if body is not None else {}
        # The token is for the server it was given for, and for nobody that this one names.
        if self._token and (guarded.scheme, guarded.host, guarded.port) == self._origin:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = self._connection = PinnedConnection(guarded, self._timeout_seconds)
        try:
            if self._aborted:  # between two redirects, when there was nothing to abort
                raise TimeoutError
            connection.request(method, guarded.target, body, headers)
            response = connection.getresponse()
            content = response.read(_MAX_ANSWER_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(
                f"{self.shown}: the certificate is not valid for {guarded.host}: {error.verify_message}; "
                "use one of a known authority, or name its root in SSL_CERT_FILE of the publisher"
            ) from None
        except ssl.SSLError as error:
            raise Unavailable(f"{self.shown}: no TLS with this server: {error.reason or 'failed'}") from None
        except (http.client.HTTPException, ValueError) as error:
            raise Unavailable(f"{self.shown}: no valid HTTP answer ({type(error).__name__})") from None
        except OSError as error:
            raise explain_network(error, self.shown, self._secret_url, self._timeout_seconds) from None
        finally:
            self._connection = None
            connection.close()
        if len(content) > _MAX_ANSWER_BYTES:
            raise Unavailable(f"{self.shown}: the answer has more than {_MAX_ANSWER_BYTES} bytes")
        return response, content

    def _refusal(self, response: http.client.HTTPResponse, content: bytes) -> MeshError:
        """What a status other than 201 means. All of them are tried again: the server's side can be put right."""
        status = response.status
        said = "".join(letter if letter.isprintable() else " " for letter in content.decode(errors="replace"))
        # What the server quotes of the request may hold the token.
        said = scrub(said, [self._secret_url]).replace(self._token or "\n", "***").strip()[:_MAX_REASON_CHARACTERS]
        answers = f"{self.shown}: the server answers {status}{f' ({said})' if said else ''}"
        match status:
            case 401 | 403:
                return Unavailable(f"{answers}: it refuses this token; give it as ?token=…")
            case 404 | 410:
                return NotFound(f"{answers}: it knows no such path")
            case 405 | 415 | 200 | 204:
                return Conflict(f"{answers}: this is no WHIP endpoint; give the URL that the server names for WHIP")
            case 406 | 422:
                return Conflict(f"{answers}: it takes none of what was offered; choose another rendition")
            case 409:
                return Conflict(f"{answers}: somebody publishes there already")
            case 429 | 503:
                return Unavailable(f"{answers}: it has no room at the moment")
            case 301 | 302 | 303:
                return Conflict(f"{answers}: offers follow 307 and 308 only; give the URL that it redirects to")
            case _ if 400 <= status < 500:
                return Conflict(f"{answers}: it refuses the offer")
            case _:
                return Unavailable(f"{answers}: it failed")


def _beyond(guarded: GuardedUrl, before: Policy) -> Policy:
    """What a server may point to: from TLS nothing without, and from the internet nothing in our own networks."""
    policy = before.only("https") if guarded.scheme == "https" else before
    outside = any(ipaddress.ip_address(address).is_global for address in guarded.addresses)
    return replace(policy, allow_private=False) if outside else policy


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
