"""A URL that passed the gate, and the policy that it was held against."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote

# Left as they are; anything else is percent-encoded before it goes into a request or to libav.
_USERINFO_SAFE = "%!$&'()*+,;=-._~"
_PATH_SAFE = "/%:@!$&'()*+,;=-._~[]"
_QUERY_SAFE = _PATH_SAFE + "?"


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be opened: schemes, whether loopback and private networks count, where files may lie."""

    schemes: frozenset[str]
    allow_private: bool = False
    private_setting: str = ""
    """What is to be set for `allow_private`; told to who asks for a private address. Empty: nothing can be."""
    file_roots: tuple[Path, ...] = ()
    verify_tls: bool = True
    """Off for devices with self-signed certificates."""
    listens: bool = False
    """A URL may name an address of this machine where senders are waited for: udp://, and srt:// with
    `mode=listener`. All of its addresses (0.0.0.0, or none) and, of udp://, multicast groups count."""
    groups: bool = False
    """udp:// may lead to a multicast group: to be sent to. Not to those of the link itself, where routers talk."""
    folders: bool = False
    """file:// may name a folder."""
    playlists: bool = True
    """What http(s):// leads to may be an HLS playlist, whose entries are held against this policy too."""
    playlist_bytes: int | None = None
    """What all entries of a playlist together may have, each time that it is read; None: it may be endless."""

    def only(self, *schemes: str) -> "Policy":
        """The same policy for fewer schemes: what a redirect or a playlist entry may lead to."""
        return replace(self, schemes=self.schemes & frozenset(schemes))


@dataclass(frozen=True, slots=True)
class GuardedUrl:
    """A URL that passed, with the addresses that it may be opened at. Its `repr` holds no secrets."""

    url: str = field(repr=False)
    shown: str
    scheme: str
    policy: Policy = field(repr=False)
    field_name: str = "source"
    host: str = ""
    port: int = 0
    path: str = ""
    query: str = field(default="", repr=False)
    username: str | None = field(default=None, repr=False)
    """Percent-encoded, as `password`."""
    password: str | None = field(default=None, repr=False)
    addresses: tuple[str, ...] = ()
    file: Path | None = None
    """Resolved path of a local file or device; of images:// the folder, and `path` is the pattern of names in it."""

    @property
    def listens(self) -> bool:
        """The host is where senders are waited for, not where something is asked."""
        if not self.policy.listens:
            return False
        return self.scheme == "udp" or (self.scheme == "srt" and ("mode", "listener") in parse_qsl(self.query))

    @property
    def userinfo(self) -> str:
        """`user:password@`, escaped, or nothing. Secret."""
        if self.username is None:
            return ""
        password = "" if self.password is None else ":" + quote(self.password, safe=_USERINFO_SAFE)
        return f"{quote(self.username, safe=_USERINFO_SAFE)}{password}@"

    @property
    def target(self) -> str:
        """Path and query, escaped, as a request line carries them. May hold secrets."""
        query = f"?{quote(self.query, safe=_QUERY_SAFE)}" if self.query else ""
        return (quote(self.path, safe=_PATH_SAFE) or "/") + query

    def at(self, host: str, userinfo: bool = True) -> str:
        """The URL with another host, port always given."""
        named = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{self.userinfo if userinfo else ''}{named}:{self.port}{self.target}"

    @property
    def pinned(self) -> str:
        """The URL with the first resolved address for its host, so that nobody resolves the name again. Secret."""
        return self.at(self.addresses[0])
