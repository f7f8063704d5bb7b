"""Why a server takes a connection not, or a message not, in words that say what to do."""

import re
import ssl

import nats.errors

from shared.bus_access import CA_VARIABLE, CERTIFICATE_VARIABLE, CREDENTIALS_VARIABLE, KEY_VARIABLE

# Numbers of OpenSSL's X509_V_ERR_*.
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAMES = (62, 64)  # of a host, of an address
TURNED_AWAY = "it turns connections away at once; raise its max_connections, or end some"
# Alerts (RFC 8446 section 6.2) by which a server says what it thinks of our certificate.
_ALERTS = (
    ("CERTIFICATE_REQUIRED", f"it asks for a client certificate; set {CERTIFICATE_VARIABLE} and {KEY_VARIABLE}"),
    ("CERTIFICATE_EXPIRED", f"the certificate of {CERTIFICATE_VARIABLE} has expired; `framemesh secrets rotate`"),
    ("UNKNOWN_CA", f"it does not know who signed the certificate of {CERTIFICATE_VARIABLE}; use one of its own CA"),
    ("BAD_CERTIFICATE", f"it does not take the certificate of {CERTIFICATE_VARIABLE}; use a valid one of its own CA"),
    ("ALERT", "it refuses TLS with what it was shown"),
    # What it says in the clear though it has offered TLS, which is where it takes no more.
    ("WRONG_VERSION_NUMBER", TURNED_AWAY),
)
_SAID = (
    ("authorization violation", f"it does not know these credentials; set {CREDENTIALS_VARIABLE}"),
    ("authentication expired", f"these credentials have expired; set {CREDENTIALS_VARIABLE}"),
    ("authentication revoked", f"these credentials were revoked; set {CREDENTIALS_VARIABLE}"),
    ("authentication timeout", f"it got no credentials in time; set {CREDENTIALS_VARIABLE}"),
    ("maximum connections exceeded", "it has all the connections that it takes; raise its max_connections"),
    ("maximum account active connections", "its account has all the connections that it may have"),
    ("connection throttling", "it takes no more connections at once; it is tried again"),
)
_VIOLATION = re.compile(r"permissions violation for (?P<what>publish|subscription)[^\"]*\"(?P<subject>[^\"]*)\"", re.I)


class AccessFailed(nats.errors.Error):
    """A file of ours that cannot be used, or a server that does not speak TLS; the text says which."""


class NotAllowed(nats.errors.TimeoutError):
    """The server refuses this party one subject. To whoever asked there it is a timeout, only sooner."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


class Violation(ValueError):
    """What the server said it refused."""

    def __init__(self, what: str, subject: str) -> None:
        self.subject = subject
        """In small letters, as nats-py has it."""
        verb = "publish to" if what == "publish" else "subscribe to"
        super().__init__(f"{verb} {subject}")


def refusal(error: Exception) -> str:
    """What a failed connect says of who asked or who answered; empty: there just is nobody."""
    if isinstance(error, AccessFailed):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).upper().replace(" ", "_")
        return next((text for word, text in _ALERTS if word in reason), f"TLS fails: {error.reason or error}")
    said = str(error).lower()
    return next((text for words, text in _SAID if words in said), "")


def violation(error: Exception) -> Violation | None:
    """What was refused to a connection that stands; None: the error is another."""
    found = _VIOLATION.search(str(error))
    return Violation(found["what"].lower(), found["subject"].lower()) if found else None


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    number = error.verify_code
    if number == _EXPIRED:
        return "its certificate has expired; renew it with `framemesh secrets rotate nats`"
    if number == _NOT_YET_VALID:
        return "its certificate is not valid yet; compare the clocks of both hosts"
    if number in _OTHER_NAMES:
        return (
            f"its certificate is for another name ({error.verify_message.rstrip('.')}); "
            "make it with `framemesh secrets init --host NAME`"
        )
    return f"its certificate is not of the CA of {CA_VARIABLE}, or that is not set ({error.verify_message})"
