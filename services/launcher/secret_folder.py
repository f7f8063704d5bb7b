"""The folder with a mesh's secrets: its CA, what its NATS server reads, and what each party shows.

ca.pem  ca.key                                the CA; its key may be taken away, and is needed to add and to rotate
parties.json                                  whom the server knows, by public key
nats/    certificate.pem key.pem ca.pem       what the server reads
<party>/ certificate.pem key.pem ca.pem seed.nk
"""

import contextlib
import datetime
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from schemas.errors import BadRequest, Conflict, NotFound, Unavailable
from schemas.ids import check_id
from shared.bus_access import BusAccess
from shared.nkey import new_seed, public_key, seed_file
from shared.whole_file import write_whole

if TYPE_CHECKING:  # it loads a large library, which who only looks for a path does without
    from services.launcher.certificates import Pair, Shown

SERVER = "nats"
CERTIFICATE_FILE, KEY_FILE, CA_FILE, SEED_FILE = "certificate.pem", "key.pem", "ca.pem", "seed.nk"
DEFAULT_DAYS = 365
USUAL_HOSTS = ("localhost", "127.0.0.1", "::1", SERVER)
"""Names that the server is reached by on one machine, and in compose."""
_CA_KEY_FILE, _PARTIES_FILE = "ca.key", "parties.json"
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600


class Held(Struct, frozen=True, kw_only=True):
    """What there is of one party, or of the server; nothing of it is secret."""

    name: str
    public_key: str = ""
    until: str = ""
    """When its certificate ends, UTC; empty: it was taken away from here."""
    days_left: int = 0
    hosts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Files that are not here any more."""


class SecretFolder:
    """One folder; nothing in it is ever overwritten but by `rotate`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # -- looking ---------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        return (self.path / _PARTIES_FILE).is_file()

    def public_keys(self) -> dict[str, str]:
        """By party, as the server knows them.

        Raises:
            NotFound: there are no secrets here.
            BadRequest: the record is damaged.
        """
        path = self.path / _PARTIES_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            raise NotFound(f"{self.path} holds no secrets; run `framemesh secrets init {self.path}`") from None
        except (OSError, msgspec.DecodeError) as error:
            raise BadRequest(f"{path}: {error}; restore it from a backup") from None

    def held(self) -> list[Held]:
        """The server first, then the parties by name. Raises as `public_keys`."""
        keys = self.public_keys()
        return [self._held(SERVER, ""), *(self._held(name, keys[name]) for name in sorted(keys))]

    def access(self, party: str) -> BusAccess:
        """The paths that a process of `party` is given. Raises: NotFound: no such party; as `public_keys`."""
        if party not in (keys := self.public_keys()):
            raise NotFound(f"{self.path} has no party {party!r}; there are: {', '.join(sorted(keys))}")
        folder = self.path / party
        return BusAccess(
            credentials=str(folder / SEED_FILE),
            ca=str(folder / CA_FILE),
            certificate=str(folder / CERTIFICATE_FILE),
            key=str(folder / KEY_FILE),
        )

    # -- making ----------------------------------------------------------------------------------------------

    def init(self, parties: Iterable[str], hosts: Sequence[str] = (), days: int = DEFAULT_DAYS) -> list[str]:
        """Make what is missing; returns what was made, empty when there was nothing to do.

        Raises:
            Conflict: the server's certificate is there, and not for all `hosts`; or the folder has other things in it.
            NotFound: something is missing, and the CA's key has been taken away.
            Unavailable: the folder cannot be written.
        """
        parties = [check_id(party, "party") for party in parties]
        with _writing(self.path):
            if not self.exists:
                self._make_all(parties, hosts, days)
                return [SERVER, *parties]
            keys = self.public_keys()
            if absent := set(hosts) - set(self._held(SERVER, "").hosts):
                raise Conflict(
                    f"the server's certificate is not for {', '.join(sorted(absent))}; run `framemesh secrets rotate "
                    f"{self.path} {SERVER}{''.join(f' --host {host}' for host in hosts)}`"
                )
            new = [party for party in parties if party not in keys]
            if new:
                authority = self._authority()
                for party in new:
                    keys[party] = self._make_party(self.path, party, authority, days)
                self._write_keys(self.path, keys)
            return new

    def rotate(
        self, names: Sequence[str], *, hosts: Sequence[str] = (), days: int = DEFAULT_DAYS, seeds: bool = True
    ) -> list[str]:
        """Replace certificates and, with `seeds`, the seeds of these parties; `nats`: the server's certificate. None
        named: all.

        Raises:
            NotFound: no such party, or the CA's key has been taken away.
            Unavailable: the folder cannot be written.
        """
        from services.launcher.certificates import issue

        keys = self.public_keys()
        for name in names:
            if name != SERVER and name not in keys:
                raise NotFound(f"{self.path} has no party {name!r}; there are: {SERVER}, {', '.join(sorted(keys))}")
        authority = self._authority()
        chosen = list(names) or [SERVER, *sorted(keys)]
        with _writing(self.path):
            for name in chosen:
                folder = self.path / name
                folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
                if name == SERVER:
                    known = self._held(SERVER, "").hosts
                    pair = issue(authority, SERVER, days, tuple(dict.fromkeys((*USUAL_HOSTS, *known, *hosts))))
                else:
                    pair = issue(authority, name, days)
                    if seeds:
                        seed = new_seed()
                        _write(folder / SEED_FILE, seed_file(seed, name).encode(), folder)
                        keys[name] = public_key(seed)
                for file, data in _files(pair, authority).items():
                    _write(folder / file, data, folder)
            self._write_keys(self.path, keys)
        return chosen

    def renew(self, days_left: int, days: int = DEFAULT_DAYS) -> list[str]:
        """Replace the certificates that end within so many days; returns whose. Raises as `rotate`."""
        soon = [one.name for one in self.held() if one.until and one.days_left < days_left]
        return self.rotate(soon, days=days, seeds=False) if soon else []

    # -- within ----------------------------------------------------------------------------------------------

    def _make_all(self, parties: Sequence[str], hosts: Sequence[str], days: int) -> None:
        """All or nothing: made beside it, and moved there."""
        from services.launcher.certificates import issue, new_authority

        if self.path.exists() and any(self.path.iterdir()):
            raise Conflict(f"{self.path} has other things in it; name an empty folder, or one that is not there")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))  # 0700
        try:
            authority = new_authority()
            _write(new / CA_FILE, authority.certificate)
            _write(new / _CA_KEY_FILE, authority.key)
            (new / SERVER).mkdir(mode=_FOLDER_MODE)
            pair = issue(authority, SERVER, days, tuple(dict.fromkeys((*USUAL_HOSTS, *hosts))))
            for file, data in _files(pair, authority).items():
                _write(new / SERVER / file, data)
            keys = {party: self._make_party(new, party, authority, days) for party in parties}
            self._write_keys(new, keys)
            os.replace(new, self.path)  # over an empty folder too
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def _make_party(self, root: Path, party: str, authority: "Pair", days: int) -> str:
        """Its folder; returns its public key."""
        from services.launcher.certificates import issue

        if party == SERVER:
            raise Conflict(f"a party cannot be called {SERVER}: that is the server")
        new = Path(tempfile.mkdtemp(prefix=f".{party}.", dir=root))
        try:
            seed = new_seed()
            _write(new / SEED_FILE, seed_file(seed, party).encode())
            for file, data in _files(issue(authority, party, days), authority).items():
                _write(new / file, data)
            os.replace(new, root / party)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        return public_key(seed)

    def _authority(self) -> "Pair":
        from services.launcher.certificates import Pair

        path = self.path / _CA_KEY_FILE
        try:
            return Pair((self.path / CA_FILE).read_bytes(), path.read_bytes())
        except FileNotFoundError:
            raise NotFound(f"{path} is not here, and signs what is new; bring it back for this") from None

    def _write_keys(self, root: Path, keys: Mapping[str, str]) -> None:
        _write(root / _PARTIES_FILE, msgspec.json.format(msgspec.json.encode(dict(sorted(keys.items()))), indent=1))

    def _held(self, name: str, key: str) -> Held:
        from services.launcher.certificates import read

        folder = self.path / name
        wanted = (CERTIFICATE_FILE, KEY_FILE, CA_FILE, *((SEED_FILE,) if key else ()))
        missing = tuple(file for file in wanted if not (folder / file).is_file())
        shown: Shown | None = None
        with contextlib.suppress(OSError, ValueError):
            shown = read((folder / CERTIFICATE_FILE).read_bytes())
        if shown is None:
            return Held(name=name, public_key=key, missing=missing)
        left = shown.until - datetime.datetime.now(datetime.UTC)
        until = shown.until.isoformat(timespec="seconds").replace("+00:00", "Z")
        return Held(name=name, public_key=key, until=until, days_left=left.days, hosts=shown.hosts, missing=missing)


def _files(pair: "Pair", authority: "Pair") -> dict[str, bytes]:
    """The key first: who reads in between finds two that do not fit, and tries again."""
    return {KEY_FILE: pair.key, CERTIFICATE_FILE: pair.certificate, CA_FILE: authority.certificate}


def _write(path: Path, data: bytes, owner_of: Path | None = None) -> None:
    write_whole(path, data, mode=_FILE_MODE, sync=True, owner_of=owner_of)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{error.filename or path}: {error.strerror}; name a folder that you may write to") from None
