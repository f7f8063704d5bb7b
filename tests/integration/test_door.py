"""The door itself: how often one may come, and TLS with certificates on both sides."""

import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from whep_rig import QuietStatus

from schemas.errors import BadRequest, InvalidValue, MeshError, NotFound
from services.webrtc_gateway.auth.cookies import Cookies
from services.webrtc_gateway.auth.guard import FAILURE_BURST, Guard
from services.webrtc_gateway.auth.token_file import read_tokens
from services.webrtc_gateway.auth.tokens import Tokens
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.web.http import build_app
from shared.door.clients import Clients
from shared.door.file_watch import FileWatch
from shared.door.http_door import HttpDoor
from shared.door.tls import TlsDoor, TlsFiles, tls_files
from tests.support.console_server import EncodedStreams

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]
TOKEN = "a-token-of-the-control-room"


@contextlib.asynccontextmanager
async def opened(guard: Guard, tls: TlsDoor | None = None, hsts_seconds: int = 0) -> AsyncIterator[str]:
    """A gateway without streams behind its own door; where it is."""
    transport = SharedIceTransport.open(0, ["127.0.0.1"], bind="127.0.0.1")
    gateway = WhepGateway(EncodedStreams(), transport)
    app = build_app(gateway, QuietStatus(), guard=guard, hsts_seconds=hsts_seconds)
    door = HttpDoor(app, "127.0.0.1", 0, tls.context if tls else None)
    port = await door.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await door.close()
        await gateway.close()
        transport.close()


def tokens(folder: Path) -> Tokens:
    path = folder / "tokens.yaml"
    path.write_text(f"[{{name: room, token: {TOKEN}, streams: ['*'], actions: [view, control]}}]")
    path.chmod(0o600)
    return Tokens(read_tokens(path))


async def statuses(http: aiohttp.ClientSession, method: str, path: str, times: int, **headers: str) -> list[int]:
    found = []
    for _ in range(times):
        async with http.request(method, path, headers=headers) as response:
            found.append(response.status)
            assert ("Retry-After" in response.headers) == (response.status == 429)
    return found


GOOD = {"Authorization": f"Bearer {TOKEN}"}


async def test_wrong_tokens_cost_and_right_ones_do_not(tmp_path: Path) -> None:
    guard = Guard(tokens(tmp_path), Cookies(b"k"), Clients(("127.0.0.1",)), failures_per_second=0.01)
    async with opened(guard) as url, aiohttp.ClientSession(url) as http:
        wrong = {"Authorization": "Bearer nothing-that-is-known"}
        assert await statuses(http, "GET", "/api/status", 30) == [401] * 30, "a page without a token is only told"
        found = await statuses(http, "GET", "/api/status", FAILURE_BURST + 3, **wrong)
        assert found == [401] * FAILURE_BURST + [429] * 3
        assert await statuses(http, "GET", "/api/status", 1, **GOOD) == [200]
        other = {**wrong, "X-Forwarded-For": "192.0.2.7"}
        assert await statuses(http, "GET", "/api/status", 1, **other) == [401], "another client of the proxy"
    assert guard.refused["rate_failures"] == 3


async def test_sessions_and_commands_have_their_rates(tmp_path: Path) -> None:
    guard = Guard(
        tokens(tmp_path),
        Cookies(b"k"),
        Clients(("127.0.0.1",)),
        sessions_per_second=0.01,
        session_burst=3,
        commands_per_second=0.01,
    )
    async with opened(guard) as url, aiohttp.ClientSession(url) as http:
        assert await statuses(http, "POST", "/whep/cam0", 5, **GOOD) == [415] * 3 + [429] * 2
        assert await statuses(http, "DELETE", "/whep/cam0/main/x", 5, **GOOD) == [404] * 5, "who goes is not held up"
        elsewhere = {**GOOD, "X-Forwarded-For": "192.0.2.9"}
        assert await statuses(http, "POST", "/whep/cam0", 1, **elsewhere) == [429], "the token has a bucket as well"
        assert await statuses(http, "GET", "/api/status", 100, **GOOD) == [200] * 100


async def test_without_tokens_addresses_have_their_rates() -> None:
    guard = Guard(Tokens(), Cookies(b"k"), sessions_per_second=0.01, session_burst=2)
    async with opened(guard) as url, aiohttp.ClientSession(url) as http:
        assert await statuses(http, "POST", "/whep/cam0", 3) == [415, 415, 429]
        async with http.get("/api/login") as response:
            assert (await response.json())["tokens"] is False


async def test_a_rebound_name_reads_nothing_where_there_are_no_tokens() -> None:
    async with opened(Guard(Tokens(), Cookies(b"k"))) as url, aiohttp.ClientSession(url) as http:
        for host, status in (("evil.example:8889", 403), ("edge1:8889", 200), ("192.168.1.7", 200)):
            assert await statuses(http, "GET", "/api/status", 1, Host=host) == [status]
        assert await statuses(http, "GET", "/", 1, Host="evil.example") == [200]


# -- TLS -------------------------------------------------------------------------------------------------------------


@dataclass
class Authority:
    """A certificate authority of a test, and what it signs."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._certificate(self.name, self.key.public_key(), authority=True)
        self.file = self.folder / f"{self.name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate for 127.0.0.1 and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate_file, key_file = self.folder / f"{name}-cert.pem", self.folder / f"{name}-key.pem"
        certificate_file.write_bytes(self._certificate(name, key.public_key()).public_bytes(serialization.Encoding.PEM))
        key_file.touch(0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file

    def _certificate(self, name: str, key: ec.EllipticCurvePublicKey, *, authority: bool = False) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )


def client(root: Path, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(root))
    if certificate:
        context.load_cert_chain(*certificate)
    return context


async def get(url: str, context: ssl.SSLContext) -> aiohttp.ClientResponse:
    """Through a connection of its own."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/api/status", ssl=context, headers=GOOD) as response:
        await response.read()
        return response


async def test_tls_for_pages_and_sockets(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "plant")
    tls = TlsDoor(TlsFiles(*authority.sign("gateway")))
    guard = Guard(tokens(tmp_path), Cookies(b"k"))
    async with opened(guard, tls, hsts_seconds=60) as url, aiohttp.ClientSession() as http:
        trusting = client(authority.file)
        assert (await get(url, trusting)).headers["Strict-Transport-Security"] == "max-age=60"
        async with http.ws_connect(f"{url}/api/events", ssl=trusting, headers=GOOD) as socket:
            assert await socket.receive_json(timeout=5)
            for said in ('{"type":"ping","t":0,"more":' + "[" * 4000, '{"type":"ping","t":1}'):
                await socket.send_str(said)
            answer = await socket.receive_json(timeout=5)
            assert (answer["type"], answer["t"]) == ("pong", 1), "what a page says beside that ends nothing"
        async with http.post(f"{url}/api/login", ssl=trusting, headers=GOOD) as response:
            assert "Secure" in response.headers["Set-Cookie"]
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await get(url, client(Authority(tmp_path, "another").file))
        assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2
        with pytest.raises(aiohttp.ClientError):
            await get(url.replace("https", "http"), trusting)


async def test_client_certificates(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "plant"), Authority(tmp_path, "another")
    mine, strange = authority.sign("operator"), other.sign("stranger")
    tls = TlsDoor(TlsFiles(*authority.sign("gateway"), authority.file))
    async with opened(Guard(tokens(tmp_path), Cookies(b"k")), tls) as url:
        assert (await get(url, client(authority.file, mine))).status == 200
        # Under TLS 1.3 the client has sent its request by the time it is refused.
        for nobody in (client(authority.file), client(authority.file, strange)):
            with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
                await get(url, nobody)
        # Another authority from now on, for whoever connects anew.
        authority_text = authority.file.read_bytes()
        (tmp_path / "server-root.pem").write_bytes(authority_text)
        authority.file.write_bytes(other.file.read_bytes())
        tls.load()
        root = tmp_path / "server-root.pem"
        assert (await get(url, client(root, strange))).status == 200
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await get(url, client(root, mine))


async def test_a_new_certificate_is_taken_and_a_broken_one_is_not(tmp_path: Path) -> None:
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    certificate, key = first.sign("gateway")
    tls = TlsDoor(TlsFiles(certificate, key))
    told: list[tuple[str, MeshError | None]] = []
    watch = FileWatch(lambda what, error: told.append((what, error)))
    watch.add("TLS certificate", tls.files.paths, tls.load)
    async with opened(Guard(tokens(tmp_path), Cookies(b"k")), tls) as url:
        assert (await get(url, client(first.file))).status == 200
        renewed, renewed_key = second.sign("renewed")
        certificate.write_bytes(renewed.read_bytes())
        await watch.look()  # the key is still the old one: half of a renewal
        assert told[-1][1] is not None
        assert "belong together" in told[-1][1].message
        assert (await get(url, client(first.file))).status == 200
        key.write_bytes(renewed_key.read_bytes())
        await watch.look()
        assert told[-1][1] is None
        assert (await get(url, client(second.file))).status == 200
        await watch.look()
        assert len(told) == 2, "told once"


def test_settings_of_tls_that_do_not_do(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "plant")
    certificate, key = authority.sign("gateway")
    assert tls_files("webrtc-gateway", None, None, None) is None
    for given in ((certificate, None, None), (None, key, None), (None, None, authority.file)):
        with pytest.raises(InvalidValue, match="TLS needs"):
            tls_files("webrtc-gateway", *given)
    with pytest.raises(NotFound, match="nowhere"):
        TlsDoor(TlsFiles(tmp_path / "nowhere", key))
    with pytest.raises(BadRequest, match="client CA"):
        TlsDoor(TlsFiles(certificate, key, key))
    locked = tmp_path / "locked.pem"
    locked.touch(0o600)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    with pytest.raises(BadRequest, match="without password"):
        TlsDoor(TlsFiles(certificate, locked))
    key.chmod(0o644)
    with pytest.raises(BadRequest, match="0644"):
        TlsDoor(TlsFiles(certificate, key))
