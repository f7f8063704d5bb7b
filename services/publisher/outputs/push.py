"""What pushes have in common: a peer that a process of its own talks to."""

import ssl
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from schemas.errors import InvalidValue, Unavailable
from schemas.packets import PacketHeader, Track
from schemas.resources import OutputSpec
from services.publisher.outputs.base import Output, OutputSettings
from services.publisher.push_child import PushChild
from services.publisher.push_wire import PushJob, PushPacket, PushReport
from shared.media.mux import TrackParameters
from shared.netguard import Policy, check, protocol_options
from shared.urls import redact

_MICROSECONDS = 1_000_000
_TLS_SCHEMES = ("rtmps", "rtsps")


class Push(Output):
    """One connection, made while the first packets wait; `confirmed` tells when the peer has answered."""

    schemes: ClassVar[tuple[str, ...]]
    container_format: ClassVar[str] = ""
    process: ClassVar[str] = "services.publisher.push_process"
    """The module that talks to this kind of peer."""
    dropped_as: ClassVar[str] = "peer_slow"
    """The reason by which what that process drops is counted."""

    def __init__(self, spec: OutputSpec, url: str, settings: OutputSettings) -> None:
        super().__init__(spec, url, settings)
        self._url = url
        self._shown = redact(url, stream_key=True)[0]
        self._check_url()
        self._child: PushChild | None = None

    def open(self, tracks: Mapping[Track, TrackParameters], start_ns: int) -> None:
        url, options = self._checked()
        job = PushJob(
            url=url,
            container_format=self.container_format,
            options={**self._options(), **options},
            tracks=dict(tracks),
            timeout_seconds=self.settings.network_timeout_seconds,
        )
        try:
            self._child = PushChild(job, self._shown, self.process, self._hear)
        except OSError as error:
            raise Unavailable(f"{self._shown}: no process for it: {error.strerror}") from None

    def write(self, header: PacketHeader, payload: memoryview, pts_ns: int, dts_ns: int) -> None:
        if self._child is None:
            raise RuntimeError("write before open")
        self._child.write(PushPacket(header.track, pts_ns, dts_ns, header.duration_ns, header.key), payload)
        self.bytes_written += len(payload)

    def close(self) -> None:
        if self._child is not None:
            self._child.finish()

    def abort(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _hear(self, report: PushReport) -> None:
        if report.dropped:
            self.dropped[self.dropped_as] += report.dropped
        if report.key_wanted:
            self.on_need_key()

    @property
    def confirmed(self) -> bool:
        return self._child is not None and self._child.confirmed

    def _checked(self) -> tuple[str, dict[str, str]]:
        """The URL at the address that was judged, resolved anew for every attempt, and what libav must know of that.

        Raises:
            InvalidValue: the address may not be pushed to.
            Unavailable: the name is not known.
        """
        policy = Policy(schemes=frozenset(self.schemes), allow_private=not self.spec.public_only)
        guarded = check(self._url, policy, field="to")
        if guarded.scheme in _TLS_SCHEMES:  # the certificate proves the peer, and needs its name
            return self._url, {}
        return guarded.pinned, protocol_options(guarded)

    @abstractmethod
    def _options(self) -> dict[str, str]:
        """Options of the muxer and its protocol, deadlines among them."""

    def _timeout_microseconds(self) -> str:
        return str(int(self.settings.network_timeout_seconds * _MICROSECONDS))

    def _tls_options(self) -> dict[str, str]:
        """libav checks no certificate unless it is told to, and knows no place where the system keeps its roots."""
        if urlsplit(self._url).scheme not in _TLS_SCHEMES:
            return {}
        paths = ssl.get_default_verify_paths()
        return {"tls_verify": "1", "ca_file": paths.cafile or paths.openssl_cafile}

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self._url)
            host, port, path = parts.hostname, parts.port, parts.path.strip("/")
        except ValueError as error:
            raise InvalidValue("to", self._shown, str(error)) from None
        if parts.scheme not in self.schemes or not host or not path or port == 0:
            raise InvalidValue("to", self._shown, f"write {self.schemes[0]}://host[:port]/path")
        if any(not character.isprintable() or character.isspace() for character in self._url):
            raise InvalidValue("to", self._shown, "no spaces and no control characters in a URL")
        if parts.fragment:  # what follows would be lost without a word
            raise InvalidValue("to", self._shown, "write # as %23")
