"""What an input or a logo is made of, by how its source is written."""

from pathlib import PurePosixPath
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from schemas.errors import InvalidValue
from schemas.ids import check_id
from schemas.mix_resources import MixInput, MixSpec, check_mix
from shared.urls import redact

SourceKind = Literal["stream", "still", "made"]
"""A stream of the mesh, a still picture, or what a stream is made of for the mix."""
_MESH: Final = "mesh"
_STILLS: Final = frozenset((".png", ".jpg", ".jpeg", ".webp"))
_LOGOS: Final = _STILLS | {""}  # an address that does not say what it is may be a picture
_FILES: Final = frozenset(("http", "https", "file"))
_NEVER: Final = frozenset(("app", "mix", "whip"))  # somebody else writes those; they have a name in the mesh


def kind_of(one: MixInput) -> SourceKind:
    """Told by its spec alone."""
    if one.source.partition("://")[0].lower() == _MESH:
        return "stream"
    return "still" if one.still or _ending(one.source) in _STILLS else "made"


def _ending(source: str) -> str:
    """`.png`, in lower case; empty: it has none."""
    try:
        parts = urlsplit(source)
    except ValueError:  # a bracket that is not closed; whoever opens it says so
        return ""
    # A file may be named without a folder: file://logo.png
    path = parts.netloc + parts.path if parts.scheme == "file" else parts.path
    return PurePosixPath(unquote(path)).suffix.lower()


def stream_of(mix: str, one: MixInput) -> str | None:
    """Whose pictures an input is; None: a still picture's."""
    kind = kind_of(one)
    if kind == "still":
        return None
    return one.source.partition("://")[2] if kind == "stream" else made_stream(mix, one.input)


def made_stream(mix: str, name: str) -> str:
    """The stream that is made for an input."""
    return f"{mix}-{name}"


def check_sources(spec: MixSpec, path: str = "") -> None:
    """Refuse a spec that can never work, without any I/O.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    check_mix(spec, path)
    for number, one in enumerate(spec.inputs):
        _check_input(spec, one, f"{path}inputs.{number}.")
    for number, logo in enumerate(spec.logos):
        if logo.source.partition("://")[0].lower() not in _FILES or _ending(logo.source) not in _LOGOS:
            shown = redact(logo.source)[0]
            raise InvalidValue(f"{path}logos.{number}.source", shown, "use a .png, .jpg, .jpeg or .webp picture")
    clashing = {stream for one in spec.inputs if (stream := stream_of(spec.mix, one)) == spec.mix}
    if clashing:
        raise InvalidValue(f"{path}mix", spec.mix, "one of its inputs is a stream of this name; choose another")


def _check_input(spec: MixSpec, one: MixInput, path: str) -> None:
    scheme, separator, rest = one.source.partition("://")
    if not separator:
        fix = "write mesh://<stream>, a URL, or file:// and a path"
        raise InvalidValue(f"{path}source", redact(one.source)[0], fix)
    kind = kind_of(one)
    if kind == "stream":
        if one.still:
            raise InvalidValue(f"{path}still", True, "leave it out; the source is a stream")
        check_id(rest, f"{path}source: mesh://")
    elif scheme.lower() in _NEVER:
        fix = f"start it as a stream, and name that: mesh://{one.input}"
        raise InvalidValue(f"{path}source", redact(one.source)[0], fix)
    elif kind == "made":
        check_id(made_stream(spec.mix, one.input), f"{path}input with the mix's name before it")
