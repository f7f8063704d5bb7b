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

PREFIX = "FRAMEMESH_"
Port = Annotated[int, Meta(ge=0, le=65_535, description="0 takes any free port")]
# A network is judged by `shared.door.clients`; this only keeps words out.
Network = Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]+(/\d{1,3})?$(?!\n)", description="10.0.0.0/8, or an address")]


def default_data_dir() -> Path:
    """Where recordings, bus state and records of work are kept: `$XDG_DATA_HOME/framemesh`."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "framemesh"


class Settings(Struct, frozen=True, kw_only=True):
    """What every service needs to know."""

    nats_url: str = "nats://127.0.0.1:4222"
    nats_credentials: str = ""
    """Path of a NATS credentials file; empty where the server asks for none."""
    node: str = msgspec.field(default_factory=lambda: id_from_hostname(socket.gethostname()))
    """Name of this host in the mesh: one shared-memory domain."""
    shm_dir: Path = Path("/dev/shm/framemesh")  # noqa: S108  # a folder of our own, mode 2770, not a guessable file
    data_dir: Path = msgspec.field(default_factory=default_data_dir)
    log: str = "info"
    """`debug`, `info`, `warning` or `error`; `json` or `json,debug` for machine-readable lines."""
    bind: str = "127.0.0.1"
    """Address that HTTP, metrics and WebRTC listen on; 0.0.0.0 for all."""
    metrics_port: Port = 0


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
