"""A mix: pictures and sound of several streams as one stream. What is asked for (specs), and what is (actuals)."""

import re
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from schemas.errors import ErrorInfo, InvalidValue
from schemas.ids import Id
from schemas.pictures import Fps
from schemas.units import DurationText, SizeText, parse_duration, parse_size

MixLayout = Literal["free", "grid", "picture-in-picture", "focus"]
MixFit = Literal["contain", "cover", "fill"]
OnInputLoss = Literal["hold", "slate", "hide"]
MixState = Literal["starting", "running", "failed", "ended", "away"]
InputState = Literal["waiting", "live", "lost", "ended"]
Colour = Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$", examples=["#1e90ff"])]
Share = Annotated[float, Meta(ge=0, lt=1)]
Opacity = Annotated[float, Meta(ge=0, le=1)]
Gain = Annotated[float, Meta(ge=-60, le=20, description="decibels")]
Position = Annotated[int, Meta(ge=-16_384, le=16_384)]
Edge = Annotated[int, Meta(ge=2, le=16_384)]
MAX_INPUTS: Final = 16
MAX_LOGOS: Final = 8
MAX_TEXTS: Final = 8
MIN_MIX_FPS: Final = 1
"""A change is seen, and answered, with the second picture from then on."""
OF_TASK: Final = re.compile(r"^mix-[0-9a-f]{16}$")
"""Mixes of CloudMix tasks, which are made, changed and ended by their task alone."""


class Box(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place on the canvas, in pixels from its upper left corner; what passes the canvas' edge is cut off."""

    x: Position
    y: Position
    width: Edge
    height: Edge


class Crop(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is cut off a picture before it is scaled: shares of its width and height."""

    left: Share = 0.0
    top: Share = 0.0
    right: Share = 0.0
    bottom: Share = 0.0


class MixInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One stream, or one still picture, in a mix."""

    input: Id
    source: str
    """`mesh://cam0`: a stream of the mesh · a URL or file that a stream can be made of, which then goes with the mix ·
    a still picture: a URL or file that ends in .png, .jpg, .jpeg or .webp."""
    still: bool = False
    """A still picture whatever the address ends in."""
    box: Box | None = None
    """Needed in layout `free`; the others say themselves where an input is."""
    layer: Annotated[int, Meta(ge=1, le=9_999)] = 1
    """What has the higher one is drawn later; of equal ones the later input."""
    fit: MixFit = "contain"
    """Of pictures of another shape than the box: all of it and the rest transparent, cut at the edges, stretched."""
    crop: Crop = Crop()
    opacity: Opacity = 1.0
    radius: Annotated[int, Meta(ge=0, le=8_192)] = 0
    """Of rounded corners, in pixels."""
    border: Annotated[int, Meta(ge=0, le=512)] = 0
    """Pixels, inside the picture's edge."""
    border_colour: Colour = "#ffffff"
    gain_db: Gain = 0.0
    muted: bool = False
    loop: bool = True
    """Of files, and of videos behind a URL: they start again at their end."""
    on_loss: OnInputLoss = "hold"
    """What is seen of an input that is lost: its last picture, a slate, or what lies beneath it."""


class MixLogo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A picture with its transparency, over all inputs; logos are drawn in their order."""

    source: str
    """A URL or file: .png, .jpg, .jpeg or .webp, or without an ending."""
    box: Box
    """The picture is scaled to fit, its aspect kept, in the middle."""
    opacity: Opacity = 1.0


class MixText(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of text or a clock, over the logos."""

    text: Annotated[str, Meta(max_length=512)]
    """`{now:%H:%M:%S}` is the time of the picture in `timezone`, `{mix}` the mix; `{{` and `}}` are braces."""
    x: Position
    y: Position
    """Of the upper left corner."""
    size: Annotated[int, Meta(ge=6, le=1_024)] = 32
    """Height of a line, in pixels."""
    colour: Colour = "#ffffff"
    background: Colour | None = None
    opacity: Opacity = 1.0
    timezone: Annotated[str, Meta(max_length=64)] = "UTC"


class MixSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stream made of others: owned by cloud-mix-proxy on `node`, where its inputs' pictures are."""

    mix: Id
    """The stream that it makes has this id."""
    inputs: Annotated[tuple[MixInput, ...], Meta(max_length=MAX_INPUTS)] = ()
    layout: MixLayout = "grid"
    """`free`: by each input's `box` · `grid`: equal tiles · `picture-in-picture`: the first (or `focus`) fills the
    canvas, the others are small in its corners · `focus`: `focus` is large, the others stand beside it."""
    focus: Id | None = None
    """An input; None: the first."""
    gap: Annotated[int, Meta(ge=0, le=256)] = 0
    """Pixels between the tiles of all layouts but `free`."""
    size: SizeText = "1920x1080"
    fps: Fps = 30.0
    background: Colour = "#000000"
    logos: Annotated[tuple[MixLogo, ...], Meta(max_length=MAX_LOGOS)] = ()
    texts: Annotated[tuple[MixText, ...], Meta(max_length=MAX_TEXTS)] = ()
    fade: DurationText | None = None
    """From one layout to the next; None: between two pictures."""
    channels: Literal[1, 2] = 2
    """Of the sound; 48 kHz. 1: mono."""
    sound: bool = True
    node: Id | None = None
    end_when_lost: DurationText | None = None
    """All inputs lost for so long end the mix. None: it goes on."""
    end_after: DurationText | None = None
    """So long after its beginning the mix ends. None: it goes on."""
    public_only: bool = False
    """Addresses of inputs and logos within private networks, and files, are refused."""
    sources_secret: str = ""
    """`secret://name@revision` of the full URLs where they had credentials in them; set by the service."""


class MixInputActual(Struct, frozen=True, kw_only=True):
    """What the mixer sees of one input."""

    input: Id
    stream: str = ""
    """Whose pictures it is; empty for a still picture."""
    state: InputState = "waiting"
    since_ns: int = 0
    error: ErrorInfo | None = None
    box: Box | None = None
    """Where it is now."""


class MixActual(Struct, frozen=True, kw_only=True):
    """What cloud-mix-proxy sees of one mix."""

    mix: Id
    node: Id
    revision: int
    state: MixState
    since_ns: int = 0
    error: ErrorInfo | None = None
    """Why it failed or ended; or, of a mix that runs, why it goes on with the layout of `applied_revision`."""
    applied_revision: int = 0
    """What is seen is that of this revision."""
    inputs: tuple[MixInputActual, ...] = ()
    started_ns: int = 0
    restarts: int = 0
    """Of the mixer's process."""
    fps: float = 0.0
    """Of the last seconds."""
    late: int = 0
    """Pictures that were due and could not be made in time."""


class MixEntry(Struct, frozen=True, kw_only=True):
    revision: int
    spec: MixSpec
    actual: MixActual | None = None


def check_mix(spec: MixSpec, path: str = "") -> None:
    """Refuse what can never work, without any I/O.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    width, height = parse_size(spec.size, f"{path}size")
    if width % 2 or height % 2:
        raise InvalidValue(f"{path}size", spec.size, "use an even width and height")
    if spec.fps < MIN_MIX_FPS:
        raise InvalidValue(f"{path}fps", spec.fps, f"use {MIN_MIX_FPS} to 240; `samples` take pictures less often")
    if not spec.inputs:
        raise InvalidValue(f"{path}inputs", [], "name one input at least, for example mesh://cam0")
    names: set[str] = set()
    for number, one in enumerate(spec.inputs):
        where = f"{path}inputs.{number}."
        if one.input in names:
            raise InvalidValue(f"{where}input", one.input, "each input needs a name of its own")
        names.add(one.input)
        if spec.layout == "free" and one.box is None:
            raise InvalidValue(f"{where}box", None, "layout free needs a box for every input")
        if one.crop.left + one.crop.right >= 1 or one.crop.top + one.crop.bottom >= 1:
            raise InvalidValue(f"{where}crop", one.crop, "something must be left of the picture")
        if one.source == f"mesh://{spec.mix}":
            raise InvalidValue(f"{where}source", one.source, "a mix cannot have itself as an input")
    if spec.focus is not None and spec.focus not in names:
        raise InvalidValue(f"{path}focus", spec.focus, f"name one of the inputs: {', '.join(sorted(names))}")
    for name in ("fade", "end_when_lost", "end_after"):
        if (text := getattr(spec, name)) is not None:
            parse_duration(text, f"{path}{name}")
