"""Certificates of a mesh's own CA: one for its NATS server, one for each party that connects to it."""

import datetime
import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_NAME = "framemesh CA"
_AUTHORITY_DAYS = 3650  # whoever renews it visits every host, so it outlives the hardware
_BEFORE = datetime.timedelta(hours=1)  # clocks of edge hosts that have just started may be late
_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Pair(NamedTuple):
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


def new_authority() -> Pair:
    """A CA that signs for this mesh and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(_AUTHORITY_NAME)
    builder = (
        _begin(name, name, key.public_key(), _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return _pem(builder.sign(key, hashes.SHA256()), key)


def issue(authority: Pair, name: str, days: int, hosts: Sequence[str] = ()) -> Pair:
    """A certificate of `authority` for `name`; with `hosts` it is a server's, which may ask other servers too.

    P-256: every TLS library has it, which is not so of Ed25519.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    signer = serialization.load_pem_private_key(authority.key, password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey), "a CA of ours"
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        _begin(_name(name), issuer.subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if hosts:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return _pem(builder.sign(signer, hashes.SHA256()), key)


class Shown(NamedTuple):
    """What a certificate says."""

    name: str
    hosts: tuple[str, ...]
    until: datetime.datetime
    """UTC."""


def read(certificate: bytes) -> Shown:
    """Raises: ValueError: it is none."""
    found = x509.load_pem_x509_certificate(certificate)
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(str(one.value) for one in alternatives)
    except x509.ExtensionNotFound:
        hosts = ()
    return Shown(str(names[0].value) if names else "", hosts, found.not_valid_after_utc)


def _begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*wanted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in wanted for usage in _KEY_USAGES})


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
