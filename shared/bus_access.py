"""What a process shows to the bus, and what it wants to see of it: its seed, its certificate, the CA it trusts.

The files are read again at each connect and reconnect: who renews a certificate or a seed restarts nothing.
"""

import ssl
from pathlib import Path

from msgspec import Struct

from schemas.errors import BadRequest, InvalidValue
from shared.nkey import Credentials, parse_credentials

CREDENTIALS_VARIABLE = "FRAMEMESH_NATS_CREDENTIALS"
CA_VARIABLE = "FRAMEMESH_NATS_CA"
CERTIFICATE_VARIABLE = "FRAMEMESH_NATS_CERTIFICATE"
KEY_VARIABLE = "FRAMEMESH_NATS_KEY"
_MAX_CREDENTIALS_BYTES = 64 << 10  # a JWT with all its permissions has a few KiB


class BusAccess(Struct, frozen=True, kw_only=True):
    """Paths of files; empty where the server asks for nothing."""

    credentials: str = ""
    """A `.creds` or the seed of an nkey."""
    ca: str = ""
    """PEM. With it the server must speak TLS, and show a certificate that this CA has signed for its name."""
    certificate: str = ""
    key: str = ""
    """Of the certificate; both PEM."""

    @property
    def tls_required(self) -> bool:
        return bool(self.ca or self.certificate)

    def check(self) -> None:
        """Read everything once: what is wrong from the start is better said than tried for ever.

        Raises:
            InvalidValue, BadRequest: names the setting, the file and what to do.
        """
        self.read_credentials()
        if self.tls_required:
            self.tls_context()

    def read_credentials(self) -> Credentials | None:
        """None: there are none to show.

        Raises:
            InvalidValue, BadRequest: as of `check`.
        """
        if not self.credentials:
            return None
        try:
            with Path(self.credentials).expanduser().open("rb") as file:
                text = file.read(_MAX_CREDENTIALS_BYTES)
        except OSError as error:
            raise InvalidValue(CREDENTIALS_VARIABLE, self.credentials, _why(error)) from None
        try:
            return parse_credentials(text.decode(errors="replace"))
        except BadRequest as error:
            raise InvalidValue(CREDENTIALS_VARIABLE, self.credentials, error.message) from None

    def tls_context(self) -> ssl.SSLContext:
        """With the files as they are now; the server's name is checked.

        Raises:
            InvalidValue, BadRequest: as of `check`.
        """
        if bool(self.certificate) != bool(self.key):
            missing = KEY_VARIABLE if self.certificate else CERTIFICATE_VARIABLE
            raise BadRequest(f"{missing}: not set; a certificate and its key belong together")
        for variable, path in (
            (CA_VARIABLE, self.ca),
            (CERTIFICATE_VARIABLE, self.certificate),
            (KEY_VARIABLE, self.key),
        ):
            if path:
                try:
                    Path(path).expanduser().open("rb").close()
                except OSError as error:
                    raise InvalidValue(variable, path, _why(error)) from None
        try:
            context = ssl.create_default_context(cafile=str(Path(self.ca).expanduser()) if self.ca else None)
        except ssl.SSLError:
            raise InvalidValue(CA_VARIABLE, self.ca, "holds no certificate in PEM") from None
        if self.certificate:
            certificate, key = (str(Path(path).expanduser()) for path in (self.certificate, self.key))
            try:
                # A password is never asked for: the terminal belongs to somebody else.
                context.load_cert_chain(certificate, key, password=lambda: b"")
            except ssl.SSLError as error:
                reason = (
                    "belongs to another key"
                    if "MISMATCH" in (error.reason or "")
                    else "cannot be read as PEM with its key"
                )
                raise InvalidValue(CERTIFICATE_VARIABLE, self.certificate, f"{reason} {self.key!r}") from None
        return context


def _why(error: OSError) -> str:
    return f"{error.strerror or type(error).__name__}; give the path of a file that this process may read"
