"""Which object stores there are, and with what credentials: settings first, then the names that others use."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from schemas.errors import InvalidValue, NotFound
from services.frame_extractor.storage.settings import StorageSettings

StoreScheme = Literal["s3", "tos"]
_DEFAULT_REGION: Final = {"s3": "us-east-1", "tos": "cn-beijing"}
# TOS has one endpoint for its own protocol and one that speaks S3, of the same region.
_TOS_HOST: Final = re.compile(r"tos-(?:s3-)?([a-z]+-[a-z0-9-]+)\.(i?volces\.com)")
# These answer to bucket.host only (TOS), or would rather not to host/bucket (AWS).
_BY_HOST: Final = (".volces.com", ".ivolces.com", ".amazonaws.com")
_ENDPOINT: Final = re.compile(r"https?://[^/?#@\s]+/?")


@dataclass(frozen=True, slots=True)
class Account:
    """Of one scheme. Its `repr` holds no secrets."""

    scheme: StoreScheme
    endpoint: str
    """`https://host`; empty: AWS's own of the region."""
    region: str
    path_style: bool
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)

    def endpoint_of(self, bucket: str) -> tuple[str, bool]:
        """Where `bucket` is asked for, and whether its name is part of the host."""
        # A dot in a bucket's name is one label too many for the certificate of *.host.
        if self.path_style or ("." in bucket and not self.endpoint):
            return self.endpoint or f"https://s3.{self.region}.amazonaws.com", False
        if not self.endpoint:
            return f"https://{bucket}.s3.{self.region}.amazonaws.com", True
        scheme, _, host = self.endpoint.partition("://")
        return f"{scheme}://{bucket}.{host}", True


def s3_account(settings: StorageSettings, environ: Mapping[str, str] | None = None) -> Account | None:
    """None where there are no credentials: asking the metadata service of a cloud for some is not for us.

    Raises:
        InvalidValue: names the setting, its value and the fix.
        NotFound: the file of a secret does not exist.
    """
    env = os.environ if environ is None else environ
    access = settings.s3_access_key or _read(env, "AWS_ACCESS_KEY_ID")
    secret = settings.s3_secret_key or _read(env, "AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        return None
    endpoint = _endpoint("s3_endpoint", settings.s3_endpoint or _read(env, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    region = settings.s3_region or _read(env, "AWS_REGION", "AWS_DEFAULT_REGION") or _DEFAULT_REGION["s3"]
    token = settings.s3_session_token or _read(env, "AWS_SESSION_TOKEN")
    path_style = _path_style(endpoint, settings.s3_path_style)
    return Account("s3", endpoint, region, path_style, access, secret, token)


def tos_account(settings: StorageSettings, environ: Mapping[str, str] | None = None) -> Account | None:
    """None where no endpoint is named, nor a region with credentials: tos:// is a folder then.

    Raises:
        InvalidValue: names the setting, its value and the fix; also where the credentials are missing.
        NotFound: the file of a secret does not exist.
    """
    env = os.environ if environ is None else environ
    endpoint = _endpoint("tos_endpoint", settings.tos_endpoint or _read(env, "TOS_ENDPOINT"))
    region = settings.tos_region or _read(env, "TOS_REGION")
    access = settings.tos_access_key or _read(env, "ACCESS_KEY")
    secret = settings.tos_secret_key or _read(env, "SECRET_KEY")
    if not endpoint and not (region and access and secret):
        return None
    named = _TOS_HOST.fullmatch(urlsplit(endpoint).hostname or "")
    region = region or (named[1] if named else _DEFAULT_REGION["tos"])
    if named:
        endpoint = f"https://tos-s3-{named[1]}.{named[2]}"
    if not access or not secret:
        raise InvalidValue(
            "tos_endpoint",
            endpoint,
            "give ACCESS_KEY and SECRET_KEY too, or no endpoint, for a local folder",
        )
    endpoint = endpoint or f"https://tos-s3-{region}.volces.com"
    token = settings.tos_session_token or _read(env, "SESSION_TOKEN")
    path_style = _path_style(endpoint, settings.tos_path_style)
    return Account("tos", endpoint, region, path_style, access, secret, token)


def bucket_folders(settings: StorageSettings) -> dict[str, Path]:
    """Raises:
    InvalidValue: names the setting, its value and the fix.
    """
    folders = {}
    for entry in settings.buckets:
        bucket, separator, folder = entry.partition("=")
        if not separator or not bucket or not folder.startswith("/"):
            raise InvalidValue("buckets", entry, "write bucket=/folder")
        folders[bucket] = Path(folder)
    return folders


def _endpoint(name: str, text: str) -> str:
    if not text:
        return ""
    endpoint = text if "://" in text else f"https://{text}"
    if not _ENDPOINT.fullmatch(endpoint):
        shown = endpoint.rpartition("@")[2]  # what is before it may be a secret
        raise InvalidValue(name, shown, "write https://host:port, without credentials and path")
    return endpoint.rstrip("/")


def _path_style(endpoint: str, asked: bool | None) -> bool:
    if asked is not None:
        return asked
    return bool(endpoint) and not (urlsplit(endpoint).hostname or "").endswith(_BY_HOST)


def _read(env: Mapping[str, str], *names: str) -> str:
    """The first of these that is set, or whose `…_FILE` is."""
    for name in names:
        if env.get(name):
            return env[name].strip()
        if path := env.get(name + "_FILE"):
            try:
                return Path(path).read_text().strip()
            except OSError as error:
                raise NotFound(f"{name}_FILE {path!r}: {error.strerror}") from None
    return ""
