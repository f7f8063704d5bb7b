"""A CA and certificates of it, for links between nats-servers of a test."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.launcher.nats_cluster import RouteTls, key_fingerprint

_HOUR = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Certificates:
    folder: Path

    def route(self, name: str) -> RouteTls:
        """A server that shows this one, and takes those who show the same."""
        certificate = self.folder / f"{name}.pem"
        keys = (key_fingerprint(certificate),)
        return RouteTls(self.folder / "ca.pem", certificate, self.folder / f"{name}.key", keys)


def certificates(folder: Path, *names: str, addresses: tuple[str, ...] = ("127.0.0.1",)) -> Certificates:
    """A CA, and a certificate and key of each name that are good for both ends of a connection."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _signed("test CA", ca_key, "test CA", ca_key, (x509.BasicConstraints(ca=True, path_length=0),))
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        hosts = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(one)) for one in addresses])
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        made = _signed(name, key, "test CA", ca_key, (hosts, uses))
        (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return Certificates(folder)


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: tuple[x509.ExtensionType, ...],
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HOUR)
        .not_valid_after(now + _HOUR)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
