"""Settings: read once from the environment, at the edge, into types.

`FRAMEMESH_<KEY>` sets what every service shares, `FRAMEMESH_<SERVICE>_<KEY>` any setting of one service. A
name that ends in `_FILE` holds the path of a file with the value, as secrets are given to containers. Lists are
written with commas.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

import msgspec
from msgspec import Meta, Struct

from schemas.errors import BadRequest, InvalidValue, NotFound
from schemas.ids import check_id, id_from_hostname
from schemas.units import BytesText, DurationText
from shared.bus_access import BusAccess

PREFIX = "FRAMEMESH_"
Port = Annotated[int, Meta(ge=0, le=65_535, description="0 takes any free port")]
# A network is judged by `shared.door.clients`; this only keeps words out.
Network = Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]+(/\d{1,3})?$(?!\n)", description="10.0.0.0/8, or an address")]


def default_data_dir() -> Path:
    """Where recordings, bus state and records of work are kept: `$XDG_DATA_HOME/framemesh`."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "framemesh"


Replicas = Annotated[
    int, Meta(ge=1, le=5, description="how many servers of the cluster keep state: 1 alone, 3 where one may be lost")
]


def _hostname() -> str:
    return os.environ.get(f"{PREFIX}HOSTNAME", "").strip() or socket.gethostname()


class Settings(Struct, frozen=True, kw_only=True):
    """What every service needs to know."""

    nats_url: str = "nats://127.0.0.1:4222"
    """One server, or those of a cluster with commas between them, the nearest first."""
    nats_replicas: Replicas = 1
    nats_credentials: str = ""
    """Path of a NATS credentials file, `.creds` or the seed of an nkey; empty where the server asks for none."""
    nats_ca: str = ""
    """Path, PEM: the CA of the server's certificate. With it the server must speak TLS."""
    nats_certificate: str = ""
    nats_key: str = ""
    """Paths, PEM: what the server sees of this process, where it asks for client certificates."""
    node: str = msgspec.field(default_factory=lambda: id_from_hostname(_hostname()))
    """Name of this host in the mesh: one shared-memory domain. Made of the host's own name when it is not given; of
    FRAMEMESH_HOSTNAME where that is set, as by Kubernetes, whose pods have names of their own."""
    shm_dir: Path = Path("/dev/shm/framemesh")  # noqa: S108  # a folder of our own, mode 2770, not a guessable file
    data_dir: Path = msgspec.field(default_factory=default_data_dir)
    log: str = "info"
    """`debug`, `info`, `warning` or `error`; `json` or `json,debug` for machine-readable lines."""
    bind: str = "127.0.0.1"
    """Address that HTTP, metrics and WebRTC listen on; 0.0.0.0 for all."""
    metrics_port: Port = 0
    instance: Annotated[str, Meta(pattern=r"^(any|[1-9][0-9]?)$(?!\n)", description="a number from 1 on, or any")] = "1"
    """Which of the instances that share this node's work; `any`: the lowest number that is free. Of services of which
    there is one on a node: 1."""
    audit_keep: DurationText = "90d"
    audit_bytes: BytesText = "256M"
    """Who commanded what is kept for so long, and so much of it; read when the first service of a mesh makes the stream
    `mesh_audit`."""

    otlp_endpoint: str = ""
    """`http://collector:4318`: spans of commands, jobs and tasks go there over OTLP/HTTP; empty: nowhere."""

    def bus_access(self) -> BusAccess:
        """What is shown to the bus, and asked of it."""
        return BusAccess(
            credentials=self.nats_credentials,
            ca=self.nats_ca,
            certificate=self.nats_certificate,
            key=self.nats_key,
        )


SettingsT = TypeVar("SettingsT", bound=Settings)


def load_settings(kind: type[SettingsT], service: str, environ: Mapping[str, str] | None = None) -> SettingsT:
    """Read the settings of `service`.

    Raises:
        InvalidValue: names the variable, its value and what is allowed.
        BadRequest: a variable of this service that no setting knows.
        NotFound: the file of a `…_FILE` variable does not exist.
    """
    env = os.environ if environ is None else environ
    own_prefix = f"{PREFIX}{service.upper().replace('-', '_')}_"
    names = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, field in names.items():
        for variable in (own_prefix + name.upper(), PREFIX + name.upper()):
            text = _read(env, variable)
            if text is not None:
                values[name] = _split(text) if _is_list(field.type) else text
                origin[name] = variable
                break
    for variable in env:
        key = variable.removeprefix(own_prefix).lower()
        if variable.startswith(own_prefix) and key not in names and key.removesuffix("_file") not in names:
            # Not what it is set to: that of a secret whose name is misspelt is one.
            raise BadRequest(f"{variable}: no such setting; there are: {', '.join(sorted(names))}")
    try:
        settings = msgspec.convert(values, kind, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`").split("[")[0].split(".")[0]
        variable = origin.get(name, name)
        raise InvalidValue(variable, values.get(name), str(error).partition(" - at ")[0]) from None
    check_id(settings.node, PREFIX + "NODE")
    return settings


def _read(env: Mapping[str, str], variable: str) -> str | None:
    if variable in env:
        return env[variable]
    path = env.get(variable + "_FILE")
    if path is None:
        return None
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise NotFound(f"{variable}_FILE {path!r}: {error.strerror}") from None


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_list(kind: Any) -> bool:
    return get_origin(kind) in (tuple, list)


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value).expanduser()
    raise NotImplementedError(kind)
