"""Addresses in a task: what can be said of them without asking anybody."""

from typing import Final
from urllib.parse import unquote, urlsplit

from schemas.cloud_mix import MixedRules, SourceType
from schemas.errors import InvalidValue
from schemas.ids import check_id
from shared.netguard import Policy, check_form, check_literal
from shared.urls import redact

_HTTP: Final = ("http", "https")
_SCHEMES: Final[dict[SourceType, tuple[str, ...]]] = {"vod": _HTTP, "live": ("rtmp", "rtmps", *_HTTP), "pic": _HTTP}
_PICTURES: Final = frozenset((".png", ".jpg", ".jpeg"))
# The API says nothing of what a logo may be, so it may be what the mixer reads.
_LOGOS: Final = _PICTURES | {".webp"}
_VIDEOS: Final = frozenset((".mp4", ".flv"))
_STREAMS: Final = frozenset((".flv",))
_OF_TYPE: Final[dict[SourceType, frozenset[str]]] = {"vod": _VIDEOS, "live": _STREAMS, "pic": _PICTURES}
# Other things that an address can end in and say by that what it leads to. What says nothing is believed.
_OTHERS: Final = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".svg", ".tif", ".tiff", ".mp4", ".m4v", ".flv", ".mkv"),
        *(".webm", ".mov", ".avi", ".ts", ".m3u8", ".mpd", ".mp3", ".aac", ".m4a", ".wav", ".html", ".htm", ".txt"),
        *(".json", ".xml", ".pdf", ".zip"),
    )
)
_PUSH_SCHEMES: Final = ("rtmp", "rtmps", "rtsp", "rtsps", "srt")
# Besides those of the API, where whoever has a key may reach what this mesh reaches.
_TRUSTED_SCHEMES: Final[dict[SourceType, tuple[str, ...]]] = {
    "vod": ("file",),
    "live": ("rtsp", "rtsps", "srt", "udp", "mesh"),
    "pic": ("file",),
}
_TRUSTED_PUSH_SCHEMES: Final = ("udp", "http", "https", "file")
_MESH: Final = "mesh://"
_WHAT: Final[dict[SourceType, str]] = {
    "vod": "give the address of an MP4 or FLV file, or another Type",
    "live": "give an RTMP address, or an HTTP address of FLV, or another Type",
    "pic": "give the address of a PNG or JPEG picture, or another Type",
}


def check_addresses(rules: MixedRules, path: str, *, trusted: bool = False) -> None:
    """Hold every address against what the API says of it.

    Args:
        trusted: cameras, streams of the mesh and files count too.

    Raises:
        InvalidValue: names the field, the address without its secrets, and the fix.
    """
    for number, source in enumerate(rules.input_source):
        field = f"{path}.InputSource[{number}].Url"
        schemes = _SCHEMES[source.type] + (_TRUSTED_SCHEMES[source.type] if trusted else ())
        _check(source.url, schemes, field, trusted)
        if not _fits(source.url, source.type):
            raise InvalidValue(field, redact(source.url)[0], _WHAT[source.type])
    for number, logo in enumerate(rules.input_layout.logo):
        field = f"{path}.InputLayout.Logo[{number}].Url"
        _check(logo.url, _HTTP + (_TRUSTED_SCHEMES["pic"] if trusted else ()), field, trusted)
        if _ending(logo.url) not in _LOGOS | {""}:
            raise InvalidValue(field, redact(logo.url)[0], "give an address that ends in .png, .jpg or .webp")
    push_schemes = _PUSH_SCHEMES + (_TRUSTED_PUSH_SCHEMES if trusted else ())
    for number, url in enumerate(rules.output.url):
        # The API's own example names hosts only; what is pushed to them is RTMP.
        _check(url if "://" in url else f"rtmp://{url}", push_schemes, f"{path}.Output.Url[{number}]", trusted)
    if rules.output.callback is not None:
        _check(rules.output.callback.url, _HTTP, f"{path}.Output.Callback.Url", trusted)


def _check(url: str, schemes: tuple[str, ...], field: str, trusted: bool) -> None:
    if "mesh" in schemes and url.startswith(_MESH):
        check_id(url.removeprefix(_MESH), field)
        return
    policy = Policy(schemes=frozenset(schemes), listens="udp" in schemes)
    if trusted:
        check_form(url, policy, field)
    else:
        # What a name leads to is judged whenever it is asked: here it would take time, and may change.
        check_literal(url, policy, field)


def _fits(url: str, kind: SourceType) -> bool:
    """Whether an address ends in what its type is, or in nothing that says otherwise; what comes is looked at later."""
    if kind != "pic" and urlsplit(url).scheme not in _HTTP:
        return True
    ending = _ending(url)
    return ending in _OF_TYPE[kind] or ending not in _OTHERS


def _ending(url: str) -> str:
    """`.mp4`, in lower case; empty: it has none."""
    name = unquote(urlsplit(url).path).rpartition("/")[2].lower()
    return f".{name.rpartition('.')[2]}" if "." in name else ""
