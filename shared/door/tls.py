"""TLS at the door: certificate and key out of files, and who may come with a certificate of their own."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BadRequest, InvalidValue, NotFound
from shared.door.file_watch import FileWatch
from shared.private_file import read_private
from shared.settings import PREFIX


@dataclass(frozen=True)
class TlsFiles:
    """What TLS is made of."""

    certificate: Path
    """PEM: ours first, then those between it and the root."""
    key: Path
    client_ca: Path | None = None
    """PEM of those whose certificates clients must have; None: clients need none."""

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.certificate, self.key, *((self.client_ca,) if self.client_ca else ()))


def tls_files(service: str, certificate: Path | None, key: Path | None, client_ca: Path | None) -> TlsFiles | None:
    """The files of a service's settings; None: its door speaks plain HTTP.

    Raises:
        InvalidValue: some are given without those that they need.
    """
    if certificate is None and key is None and client_ca is None:
        return None
    for name, path in (("CERTIFICATE_FILE", certificate), ("KEY_FILE", key)):
        if path is None:
            setting = f"{PREFIX}{service.upper().replace('-', '_')}_TLS_{name}"
            raise InvalidValue(setting, "", "TLS needs a certificate and its key; give both files, or none")
    assert certificate is not None
    assert key is not None
    return TlsFiles(certificate, key, client_ca)


class TlsDoor:
    """The context of the listening socket, whose connections each take the newest files."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises: NotFound, BadRequest: see `load`."""
        self.files = files
        self._current = self._load()
        # The socket keeps this one for its life; what a handshake uses is chosen by its callback.
        self.context = self._load()
        self.context.sni_callback = self._choose

    def load(self) -> None:
        """Take the files as they are now; what was there stays when they are no good.

        Raises:
            NotFound: one is missing.
            BadRequest: one cannot be used, or others may read the key; names it.
        """
        self._current = self._load()

    def _choose(self, handshake: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        handshake.context = self._current

    def _load(self) -> ssl.SSLContext:
        files = self.files
        read_private(files.key, "TLS key file")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        # No session is taken up again: a client whose authority was taken away would come in with an old one.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        try:
            # An encrypted key must not make the service wait for somebody to type.
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except FileNotFoundError as error:
            raise NotFound(f"TLS certificate file {str(files.certificate)!r}: {error.strerror}") from None
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise BadRequest(
                f"TLS certificate {str(files.certificate)!r} with key {str(files.key)!r}: {reason}; give PEM files that"
                " belong together, the key without password"
            ) from None
        if files.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(files.client_ca)
            except FileNotFoundError as error:
                raise NotFound(f"TLS client CA file {str(files.client_ca)!r}: {error.strerror}") from None
            except (ssl.SSLError, OSError) as error:
                raise BadRequest(
                    f"TLS client CA file {str(files.client_ca)!r}: {getattr(error, 'reason', None) or error}; give PEM"
                ) from None
        return context


def watched_door(files: TlsFiles | None, watch: FileWatch) -> TlsDoor | None:
    """The door of these files, which takes them again whenever they change; None: plain HTTP.

    Raises: NotFound, BadRequest: as `TlsDoor.load`.
    """
    if files is None:
        return None
    door = TlsDoor(files)
    watch.add("TLS certificate", files.paths, door.load)
    door.load()  # what has changed since they were read and before they were watched
    return door


def _no_password() -> str:
    return ""
