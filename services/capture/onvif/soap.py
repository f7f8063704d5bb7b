"""SOAP 1.2 messages as ONVIF uses them: envelopes with a name and a password, and what faults mean."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from schemas.errors import MeshError, Unavailable
from services.capture.onvif import xml
from shared.urls import scrub

DEVICE = "http://www.onvif.org/ver10/device/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
PTZ = "http://www.onvif.org/ver20/ptz/wsdl"
EVENTS = "http://www.onvif.org/ver10/events/wsdl"
SCHEMA = "http://www.onvif.org/ver10/schema"
NOTIFICATION = "http://docs.oasis-open.org/wsn/b-2"
_ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
_ADDRESSING = "http://www.w3.org/2005/08/addressing"
_SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
_DIGEST = f"{_SECURITY}-username-token-profile-1.0#PasswordDigest"
_BASE64 = f"{_SECURITY}-soap-message-security-1.0#Base64Binary"
_NONCE_BYTES = 16  # UsernameToken Profile 1.1, 3.1
_MAX_REASON_CHARACTERS = 160
_CREDENTIAL_FAULTS = frozenset(("NotAuthorized", "FailedAuthentication", "FailedCheck", "InvalidSecurity"))


class Fault(Unavailable):
    """The camera refuses a call; `codes` are its reasons, the general one first: `Receiver`, `ActionNotSupported`."""

    def __init__(self, message: str, codes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.codes = codes


class NotAuthorized(Fault):
    """The camera does not accept the name or the password."""


@dataclass(frozen=True)
class Credentials:
    """Who we are to the camera, and how far its clock is ahead of ours."""

    username: str
    password: str = field(repr=False)
    clock_offset: timedelta = timedelta()

    def header(self) -> str:
        """A UsernameToken whose digest holds for one message (WS-Security UsernameToken Profile 1.1, 3.1)."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        created = (datetime.now(UTC) + self.clock_offset).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        digest = hashlib.sha1(nonce + created.encode() + self.password.encode(), usedforsecurity=False).digest()
        return (
            f'<wsse:Security s:mustUnderstand="1" xmlns:wsse="{_SECURITY}-wssecurity-secext-1.0.xsd"'
            f' xmlns:wsu="{_SECURITY}-wssecurity-utility-1.0.xsd"><wsse:UsernameToken>'
            f"<wsse:Username>{escape(self.username)}</wsse:Username>"
            f'<wsse:Password Type="{_DIGEST}">{_base64(digest)}</wsse:Password>'
            f'<wsse:Nonce EncodingType="{_BASE64}">{_base64(nonce)}</wsse:Nonce>'
            f"<wsu:Created>{created}</wsu:Created></wsse:UsernameToken></wsse:Security>"
        )


def envelope(body: str, credentials: Credentials | None = None, header: str = "") -> bytes:
    """A whole message around `body`, which is XML already."""
    security = credentials.header() if credentials else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{_ENVELOPE}">'
        f"<s:Header>{header}{security}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def addressing(to: str, action: str, references: str = "") -> str:
    """The header that says which subscription is meant (WS-Addressing 1.0)."""
    return (
        f'<a:Action xmlns:a="{_ADDRESSING}">{escape(action)}</a:Action>'
        f'<a:To xmlns:a="{_ADDRESSING}">{escape(to)}</a:To>{references}'
    )


def answer(data: bytes, what: str, secret_url: str) -> Element:
    """The body of an answer.

    Args:
        what: names the camera in error texts.
        secret_url: has the password, which a camera may repeat in its reasons.

    Raises:
        NotAuthorized: wrong name or password.
        Fault: the camera refuses for another reason, which is in the text.
        Unavailable: this is no answer.
    """
    try:
        root = xml.parse(data)
    except xml.UnreadableXml as error:
        raise Unavailable(f"{what}: the answer cannot be read ({error.message})") from None
    body = xml.first(root, "Body")
    if body is None:
        raise Unavailable(f"{what}: the answer is no SOAP message; is this an ONVIF camera?")
    fault = xml.first(body, "Fault")
    if fault is not None:
        raise _fault(fault, what, secret_url)
    return body


def refused_credentials(what: str) -> NotAuthorized:
    return NotAuthorized(f"{what}: the camera refuses the login; check user name and password", ("NotAuthorized",))


def _fault(fault: Element, what: str, secret_url: str) -> MeshError:
    codes = tuple(
        (code.text or "").strip().rpartition(":")[2]
        for name in ("Value", "faultcode")
        for code in xml.each(fault, name)
    )
    if _CREDENTIAL_FAULTS.intersection(codes):
        return refused_credentials(what)
    reason = (
        xml.text(fault, "Reason", "Text") or xml.text(fault, "faultstring") or (codes[-1] if codes else "no reason")
    )
    return Fault(f"{what}: refused ({plain(scrub(reason, [secret_url]), _MAX_REASON_CHARACTERS)})", codes)


def plain(text: str, most_characters: int) -> str:
    """Text from a camera on one line, fit to show: printable, and not endless."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:most_characters]).strip()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
