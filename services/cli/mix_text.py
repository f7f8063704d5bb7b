"""Mixes as text for people."""

from schemas.mix_resources import MixEntry
from schemas.mixes import MixList
from services.cli.table import table

_NONE = """No mixes yet. Make one of streams that run:
  framemesh mix create wall mesh://cam0 mesh://cam1 --layout grid"""


def listed(mixes: MixList) -> str:
    """A line for each mix."""
    return "\n".join(mix_table(mixes.mixes)) if mixes.mixes else _NONE


def mix_table(mixes: tuple[MixEntry, ...]) -> list[str]:
    """Lines of a table."""
    rows = [("MIX", "STATE", "LAYOUT", "PICTURE", "INPUTS")]
    for entry in mixes:
        spec, actual = entry.spec, entry.actual
        picture = f"{spec.size} {spec.fps:g} fps"
        states = {one.input: one.state for one in actual.inputs} if actual else {}
        inputs = "  ".join(
            name if states.get(name, "live") == "live" else f"{name} ({states[name]})"
            for name in (one.input for one in spec.inputs)
        )
        rows.append((spec.mix, actual.state if actual else "no owner", spec.layout, picture, inputs))
    return table(rows)


def described(entry: MixEntry) -> str:
    """All that one wants to know of one mix."""
    spec, actual = entry.spec, entry.actual
    lines = [
        f"{spec.mix}: {actual.state if actual else 'no owner'}, layout {spec.layout}, {spec.size} {spec.fps:g} fps"
    ]
    if actual:
        lines[0] += f", makes {actual.fps:.1f} fps, {actual.late} late"
        if actual.error:
            lines.append(f"  {actual.error.message}")
        if actual.applied_revision not in (0, entry.revision):
            lines.append(f"  seen is revision {actual.applied_revision}, asked for {entry.revision}")
    found = {one.input: one for one in actual.inputs} if actual else {}
    rows = [("INPUT", "STATE", "BOX", "SOUND", "SOURCE")]
    for one in spec.inputs:
        there = found.get(one.input)
        box = there.box if there else None
        place = f"{box.width}x{box.height}+{box.x}+{box.y}" if box else "-"
        sound = "muted" if one.muted else f"{one.gain_db:+g} dB"
        rows.append((one.input, there.state if there else "-", place, sound, one.source))
    return "\n".join([*lines, "", *table(rows)])
