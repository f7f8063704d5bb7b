"""Settings of where videos come from and where pictures go."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.settings import Settings

_SECRETS = ("_key", "_token")
_GIB = 1 << 30


class StorageSettings(Settings, frozen=True, kw_only=True):
    file_roots: tuple[Path, ...] = ()
    """Folders that videos of `file://` may lie in. Empty: `media` in the data folder, where recordings are."""
    picture_roots: tuple[Path, ...] = ()
    """Folders that pictures of `file://` may go to, and be read from. Empty: `pictures` in the data folder."""
    buckets: tuple[str, ...] = ()
    """`bucket=/folder`: that bucket is a folder of this machine, whatever accounts there are."""
    allow_private: bool = False
    """Videos may be fetched from private networks and from this machine. Off: nobody reaches inside through us."""

    s3_endpoint: str = ""
    """Of MinIO and others, `https://host:port`. Empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS."""
    s3_region: str = ""
    """Empty: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1."""
    s3_access_key: str = ""
    """Empty: AWS_ACCESS_KEY_ID."""
    s3_secret_key: str = ""
    """Empty: AWS_SECRET_ACCESS_KEY. Best given as a file."""
    s3_session_token: str = ""
    """Empty: AWS_SESSION_TOKEN."""
    s3_path_style: bool | None = None
    """`host/bucket` rather than `bucket.host`. None: of any endpoint but AWS's and TOS's own."""
    tos_endpoint: str = ""
    """Empty: TOS_ENDPOINT. With no endpoint, and no region with keys, tos:// is `tos` in the data folder."""
    tos_region: str = ""
    """Empty: TOS_REGION, else what the endpoint names."""
    tos_access_key: str = ""
    """Empty: ACCESS_KEY."""
    tos_secret_key: str = ""
    """Empty: SECRET_KEY. Best given as a file."""
    tos_session_token: str = ""
    """Empty: SESSION_TOKEN."""
    tos_path_style: bool | None = None

    network_timeout_seconds: Annotated[float, Meta(gt=0, le=120)] = 10.0
    """To connect, for an answer to begin, and without any byte of one."""
    storage_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """How long the writing of one picture is tried: a store that restarts is back within a minute."""
    upload_threads: Annotated[int, Meta(ge=1, le=64)] = 8
    """Pictures of a job that are written at once; a store across a country answers in 50 ms: 160 a second."""
    upload_bytes: Annotated[int, Meta(ge=1 << 20)] = 64 << 20
    """Pictures of a job that wait to be written; decoding waits where there are more."""
    video_bytes: Annotated[int, Meta(ge=1)] = 64 * _GIB
    """Longer videos are refused."""
    fetch_bytes: Annotated[int, Meta(ge=1)] = 16 * _GIB
    """What all jobs of this data folder together may keep on disk of fetched videos."""
    fetch_seconds: Annotated[float, Meta(gt=0)] = 3600.0
    """For one video to be fetched."""
    fetch_bytes_per_second: Annotated[int, Meta(ge=0)] = 8192
    """Servers that are slower for half a minute are given up: 64 kbit/s is less than any video that is worth it."""

    def __repr__(self) -> str:
        shown = {name: value for name, value in _fields(self).items() if not name.endswith(_SECRETS)}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def video_folders(self) -> tuple[Path, ...]:
        """Where local videos may lie; pictures too, for a job may look at what another wrote."""
        return (self.file_roots or (self.data_dir / "media",)) + self.picture_folders

    @property
    def picture_folders(self) -> tuple[Path, ...]:
        return self.picture_roots or (self.data_dir / "pictures",)


def _fields(settings: msgspec.Struct) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in msgspec.structs.fields(settings)}
