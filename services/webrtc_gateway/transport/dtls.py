"""DTLS-SRTP, server side, driven by datagrams and timers instead of a task (RFC 5764, RFC 8842)."""

import asyncio
import logging
from collections.abc import Callable

from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCCertificate,
    RTCDtlsFingerprint,
    SRTPProtectionProfile,
)
from OpenSSL import SSL

from schemas.errors import BadRequest
from services.webrtc_gateway.transport.srtp import SrtpReceiver, SrtpSender

logger = logging.getLogger(__name__)

# GCM is several times cheaper than CM + SHA-1 on CPUs with AES instructions; every browser has both.
_PROFILES: tuple[SRTPProtectionProfile, ...] = (SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80)
_CIPHERS = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA"
_SUPPORTED_DIGESTS = ("sha-256", "sha-384", "sha-512")
_RECORD_HEADER_BYTES = 13  # RFC 6347 section 4.1; the last two are the record's length
_DATAGRAM_BYTES = 1200  # the smallest MTU we count on, less headers
_MAX_RECORD_BYTES = 2048  # more than any datagram that the socket hands on


def _ignore_data(data: bytes) -> None:
    """Nobody has asked for data channels."""


class DtlsIdentity:
    """Our certificate and the TLS context made of it; one for the life of the process."""

    def __init__(self) -> None:
        certificate = RTCCertificate.generateCertificate()
        self.fingerprint = next(f.value for f in certificate.getFingerprints() if f.algorithm == "sha-256")
        """SHA-256 of the certificate, as in `a=fingerprint`."""
        self.context = SSL.Context(SSL.DTLS_METHOD)
        self.context.set_options(SSL.OP_NO_TICKET)
        # Any certificate will do here: the fingerprint from the signalling is what identifies the peer.
        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self.context.use_certificate(certificate._cert)
        self.context.use_privatekey(certificate._key)
        self.context.set_cipher_list(_CIPHERS)
        self.context.set_tlsext_use_srtp(b":".join(profile.openssl_profile for profile in _PROFILES))


class DtlsServer:
    """One peer's handshake; calls `on_keys` once when it is done and `on_closed` once when it ends or fails.

    `on_data` is called with each record of application data: one SCTP packet (RFC 8261).
    """

    def __init__(
        self,
        identity: DtlsIdentity,
        fingerprints: list[RTCDtlsFingerprint],
        send: Callable[[bytes], None],
        on_keys: Callable[[SrtpSender, SrtpReceiver], None],
        on_closed: Callable[[str], None],
    ) -> None:
        """`fingerprints` come from the peer's offer.

        Raises:
            BadRequest: none of them uses a digest that we support.
        """
        self._fingerprints = usable(fingerprints)
        self._send, self._on_keys, self._on_closed = send, on_keys, on_closed
        self._connection = SSL.Connection(identity.context)
        self._connection.set_ciphertext_mtu(_DATAGRAM_BYTES)
        self._connection.set_accept_state()
        self._timer: asyncio.TimerHandle | None = None
        self.connected = False
        self.closed = False
        self.on_data: Callable[[bytes], None] = _ignore_data

    def receive(self, datagram: bytes) -> None:
        """Take one DTLS datagram from the peer."""
        if self.closed:
            return
        self._connection.bio_write(datagram)
        if self.connected:
            self._read()
        else:
            self._handshake()

    def send_data(self, data: bytes) -> None:
        """Send one record of application data; nothing before the handshake is done or after the end."""
        if not self.connected or self.closed:
            return
        try:
            self._connection.send(data)
        except SSL.Error as error:  # the peer has said its close_notify; its end follows
            logger.debug("DTLS send: %s", error)
        self._flush()

    def close(self) -> None:
        """Send close_notify, so the peer notices at once; does not call `on_closed`."""
        if self.closed:
            return
        self.closed = True
        self._cancel_timer()
        if self.connected:
            try:
                self._connection.shutdown()
            except SSL.Error as error:
                logger.debug("DTLS shutdown: %s", error)
        self._flush()

    def _handshake(self) -> None:
        self._cancel_timer()
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
            self._start_timer()
            return
        except SSL.Error as error:
            self._flush()
            self._fail(f"DTLS handshake failed: {error}")
            return
        self._flush()
        self._finish()

    def _finish(self) -> None:
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None or not _matches(RTCCertificate(key=None, cert=certificate), self._fingerprints):  # type: ignore[arg-type]
            self._fail("the DTLS certificate is not the one in the offer")
            return
        name = self._connection.get_selected_srtp_profile()
        profile = next((p for p in _PROFILES if p.openssl_profile == name), None)
        if profile is None:
            self._fail("no SRTP protection profile in common")
            return
        material = self._connection.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        self.connected = True
        sender = SrtpSender(profile.get_key_and_salt(material, 1), profile.libsrtp_profile)
        receiver = SrtpReceiver(profile.get_key_and_salt(material, 0), profile.libsrtp_profile)
        self._on_keys(sender, receiver)
        self._read()  # data may have come in the datagram that ended the handshake

    def _read(self) -> None:
        while not self.closed:
            try:
                data = self._connection.recv(_MAX_RECORD_BYTES)
            except SSL.ZeroReturnError:
                self._fail("closed by the peer")
                return
            except SSL.Error:
                break  # no more; or a retransmitted flight, or rubbish, which DTLS drops
            self.on_data(data)
        self._flush()

    def _start_timer(self) -> None:
        seconds = self._connection.DTLSv1_get_timeout()
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._retransmit)

    def _retransmit(self) -> None:
        self._timer = None
        self._connection.DTLSv1_handle_timeout()
        self._flush()
        self._start_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        """Send what OpenSSL wrote, cut where records end: the memory BIO has no datagram boundaries."""
        pending = bytearray()
        while True:
            try:
                pending += self._connection.bio_read(65536)
            except SSL.Error:
                break
        start = end = 0
        while end + _RECORD_HEADER_BYTES <= len(pending):
            following = end + _RECORD_HEADER_BYTES + int.from_bytes(pending[end + 11 : end + 13], "big")
            if following - start > _DATAGRAM_BYTES and end > start:
                self._send(bytes(pending[start:end]))
                start = end
            end = following
        if start < len(pending):
            self._send(bytes(pending[start:]))

    def _fail(self, reason: str) -> None:
        self.close()
        self._on_closed(reason)


def usable(fingerprints: list[RTCDtlsFingerprint]) -> list[RTCDtlsFingerprint]:
    """Those of a digest that we support.

    Raises:
        BadRequest: there is none.
    """
    found = [f for f in fingerprints if f.algorithm.lower() in _SUPPORTED_DIGESTS]
    if not found:
        raise BadRequest("the offer has no a=fingerprint with sha-256, sha-384 or sha-512")
    return found


def _matches(certificate: RTCCertificate, fingerprints: list[RTCDtlsFingerprint]) -> bool:
    """Every fingerprint whose digest we know must match (RFC 8122 section 5.1)."""
    actual = {f.algorithm: f.value for f in certificate.getFingerprints()}
    return all(actual[f.algorithm.lower()] == f.value.upper() for f in fingerprints)
