"""Streams made of others: make a mix, change it while it runs, look at it, end it.

examples:
  framemesh mix create wall mesh://cam0 mesh://cam1 --layout grid
  framemesh mix create show mesh://stage mesh://desk clip.mp4 --layout picture-in-picture --focus stage --size 1280x720
  framemesh mix update wall --layout focus --focus cam1 --fade 500ms     what is not said stays as it is
  framemesh mix update wall mesh://cam0 mesh://cam2 --logo logo.png@1700,40,180,90 --text '{now:%H:%M:%S}@40,1000'
  framemesh mix update wall --no-logos --fade none --gain cam0=-6 --mute cam2
  framemesh mix create free -f layout.json      every field that a mix has; the options change it
  framemesh mix list
  framemesh mix show wall --json > wall.json    and back: framemesh mix update wall -f wall.json
  framemesh mix delete wall

A mix is a stream: watch it, record it (`framemesh record start wall`), encode it, or make it an input of another one.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import msgspec

from schemas.commands import DEFAULT_WAIT_SECONDS
from schemas.errors import BadRequest, InvalidValue, NotFound
from schemas.mix_file import inputs_from, mix_from_mapping
from schemas.mix_resources import MixEntry, MixSpec
from schemas.mixes import CreateMix, DeleteMix, GetMix, ListMixes, MixChanged, MixList, UpdateMix
from schemas.subjects import command
from services.cli.connection import add_nats_argument, connected
from services.cli.mix_text import described, listed
from services.cli.paths import source_argument
from shared.bus import Bus

HELP = "streams made of others"
_SERVICE = "cloud-mix-proxy"
_REPLY_SECONDS = 3.0
_REPLY_MARGIN_SECONDS = 10.0  # still pictures are fetched, and the process of a mix started
_ACTIONS = ("create", "update", "delete", "list", "show")
_LAYOUTS = ("free", "grid", "picture-in-picture", "focus")
_OPTIONS = ("layout", "focus", "size", "fps", "gap", "background", "fade", "channels", "node")
_LENGTHS = ("end_when_lost", "end_after")
_CLEARED = ("focus", "fade", *_LENGTHS)
_NONE = "none"  # of these: not any more
_CHANGES = (*_OPTIONS, *_LENGTHS, "logo", "text", "mute", "unmute", "gain", "on_loss", "sound", "file")
_BOX = re.compile(r"^(.+)@(-?\d+),(-?\d+),(\d+),(\d+)$")
_POINT = re.compile(r"^(.*)@(-?\d+),(-?\d+)$", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=_ACTIONS)
    parser.add_argument("mix", nargs="?", metavar="MIX")
    parser.add_argument("inputs", nargs="*", metavar="SOURCE", help="mesh://STREAM, a URL, or a file")
    parser.add_argument("--layout", choices=_LAYOUTS)
    parser.add_argument("--focus", metavar="INPUT", help="the large one; the first when left out, or none")
    parser.add_argument("--size", metavar="WxH")
    parser.add_argument("--fps", type=float)
    parser.add_argument("--gap", type=int, metavar="PIXELS", help="between tiles")
    parser.add_argument("--background", metavar="#RRGGBB")
    parser.add_argument("--logo", action="append", metavar="SOURCE@X,Y,W,H", help="may be given again")
    parser.add_argument("--no-logos", dest="logo", action="store_const", const=[])
    parser.add_argument("--text", action="append", metavar="TEXT@X,Y", help="{now:%%H:%%M:%%S} is a clock")
    parser.add_argument("--no-texts", dest="text", action="store_const", const=[])
    parser.add_argument("--mute", action="append", metavar="INPUT", help="may be given again")
    parser.add_argument("--unmute", action="append", metavar="INPUT", help="may be given again")
    parser.add_argument("--gain", action="append", metavar="INPUT=DB", help="may be given again")
    parser.add_argument("--on-loss", choices=("hold", "slate", "hide"), help="of an input, for all of them")
    parser.add_argument("--fade", metavar="TIME", help="from the layout before, for example 500ms; or none")
    parser.add_argument("--channels", type=int, choices=(1, 2))
    parser.add_argument("--sound", action=argparse.BooleanOptionalAction)
    parser.add_argument("--end-when-lost", metavar="TIME", help="end when all inputs are lost for so long; or none")
    parser.add_argument("--end-after", metavar="TIME", help="or none")
    parser.add_argument("--node", metavar="NODE")
    parser.add_argument("-f", "--file", type=Path, metavar="JSON", help="a mix as `show --json` has it, or its `spec`")
    parser.add_argument("--wait", dest="wait_s", type=float, default=DEFAULT_WAIT_SECONDS, metavar="SECONDS")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    _check_usage(options)
    async with connected(options) as bus:
        if options.action == "list":
            reply = await bus.request(command(_SERVICE, "list"), ListMixes(), MixList, _REPLY_SECONDS)
            print(msgspec.json.encode(reply).decode() if options.json else listed(reply))
        elif options.action == "show":
            entry = await _entry(bus, options.mix)
            print(msgspec.json.encode(entry).decode() if options.json else described(entry))
        else:
            changed = await _change(bus, options)
            print(msgspec.json.encode(changed).decode() if options.json else _said(options, changed))
    return 0


def _check_usage(options: argparse.Namespace) -> None:
    action, mix = options.action, options.mix
    if action == "list" and mix:
        raise BadRequest(f"mix list: it has all of them; for one write: framemesh mix show {mix}")
    if action != "list" and not mix:
        raise BadRequest(f"mix {action}: name the mix, for example: framemesh mix {action} wall")
    if action == "create" and not options.inputs and options.file is None:
        raise BadRequest(
            f"mix create: name its inputs, for example: framemesh mix create {mix} mesh://cam0 mesh://cam1"
        )
    changes = [name for name in _CHANGES if getattr(options, name) is not None]
    if action in ("list", "show", "delete") and (changes or options.inputs):
        given = f"--{changes[0].replace('_', '-')}" if changes else options.inputs[0]
        raise BadRequest(f"mix {action}: {given} changes nothing here; write framemesh mix update {mix or 'wall'} …")


async def _entry(bus: Bus, mix: str) -> MixEntry:
    return await bus.request(command(_SERVICE, "get"), GetMix(mix=mix), MixEntry, _REPLY_SECONDS)


async def _change(bus: Bus, options: argparse.Namespace) -> MixChanged:
    timeout = options.wait_s + _REPLY_MARGIN_SECONDS
    if options.action == "delete":
        request = _convert({"mix": options.mix, "wait_s": options.wait_s}, DeleteMix)
        return await bus.request(command(_SERVICE, "delete"), request, MixChanged, timeout)
    before: dict[str, Any] = {}
    revision: int | None = None
    if options.action == "update":
        entry = await _entry(bus, options.mix)
        before, revision = msgspec.json.decode(msgspec.json.encode(entry.spec)), entry.revision
    spec = spec_of(options, before)
    fields = {name: getattr(spec, name) for name in MixSpec.__struct_fields__}
    given: CreateMix | UpdateMix
    if options.action == "create":
        given = CreateMix(**fields, wait_s=options.wait_s)
    else:
        given = UpdateMix(**fields, wait_s=options.wait_s, revision=revision)
    return await bus.request(command(_SERVICE, options.action), given, MixChanged, timeout)


def spec_of(options: argparse.Namespace, before: dict[str, Any]) -> MixSpec:
    """The mix that the command line asks for; `before`: the one there is, of which it says what changes.

    Raises:
        BadRequest, NotFound: names the option and the fix.
    """
    given = {**before, **_from_file(options.file)}
    given.pop("mix", None)
    for name in (*_OPTIONS, *_LENGTHS):
        if (value := getattr(options, name)) is not None:
            given[name] = None if name in _CLEARED and value == _NONE else value
    if options.sound is not None:
        given["sound"] = options.sound
    if options.inputs:
        known = {entry["source"]: entry for entry in given.get("inputs", ())}
        sources = [source_argument(text) for text in options.inputs]
        given["inputs"] = [known.get(source, source) for source in sources]
        if given.get("focus") and options.focus is None:
            names = [entry["input"] for entry in inputs_from(given["inputs"], "inputs")]
            if given["focus"] not in names:
                del given["focus"]
    if options.logo is not None:
        given["logos"] = [_logo(text) for text in options.logo]
    if options.text is not None:
        given["texts"] = [_text(text) for text in options.text]
    given["inputs"] = _adjusted(inputs_from(given.get("inputs"), "inputs"), options)
    return mix_from_mapping(options.mix, given, "mix")


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = msgspec.json.decode(path.expanduser().read_bytes())
    except OSError as error:
        raise NotFound(f"--file {path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"--file {path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadRequest(f"--file {path}: write an object with the fields of a mix")
    spec = found.get("spec")
    return spec if isinstance(spec, dict) else found


def _logo(text: str) -> dict[str, Any]:
    match = _BOX.match(text)
    if match is None:
        raise InvalidValue("--logo", text, "write SOURCE@X,Y,W,H, for example logo.png@40,40,200,100")
    x, y, width, height = (int(part) for part in match.groups()[1:])
    return {"source": source_argument(match[1]), "box": {"x": x, "y": y, "width": width, "height": height}}


def _text(text: str) -> dict[str, Any]:
    match = _POINT.match(text)
    if match is None:
        raise InvalidValue("--text", text, "write TEXT@X,Y, for example 'Hall 3@40,40'")
    return {"text": match[1], "x": int(match[2]), "y": int(match[3])}


def _adjusted(inputs: list[Any], options: argparse.Namespace) -> list[Any]:
    """With what the options say of inputs by their names."""
    changes: dict[str, dict[str, Any]] = {name: {"muted": False} for name in options.unmute or ()}
    changes |= {name: {"muted": True} for name in options.mute or ()}
    for text in options.gain or ():
        name, separator, number = text.partition("=")
        try:
            gain = float(number)
        except ValueError:
            raise InvalidValue("--gain", text, "write INPUT=DECIBELS, for example cam0=-6") from None
        if not separator:
            raise InvalidValue("--gain", text, "write INPUT=DECIBELS, for example cam0=-6")
        changes.setdefault(name, {}).update(gain_db=gain, muted=False)
    names = [entry["input"] for entry in inputs if isinstance(entry, dict)]
    for name in changes.keys() - set(names):
        raise InvalidValue("--mute, --unmute, --gain", name, f"name one of the inputs: {', '.join(names)}")
    everywhere = {"on_loss": options.on_loss} if options.on_loss else {}
    return [
        {**entry, **everywhere, **changes.get(entry["input"], {})} if isinstance(entry, dict) else entry
        for entry in inputs
    ]


def _convert(value: Any, kind: type[DeleteMix]) -> DeleteMix:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"mix: {error}") from None


def _said(options: argparse.Namespace, changed: MixChanged) -> str:
    if options.action == "delete":
        return f"{changed.id} has ended" if changed.code == 200 else f"{changed.id} is on its way out"
    state = changed.actual.state if changed.actual else "accepted, and not made yet"
    return f"{changed.id}: {state}, revision {changed.revision}; watch it as stream {changed.id}"
