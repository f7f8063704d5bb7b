"""Tables that are written into pages, and those of CONTRACT.md and nats/permissions.md."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

import msgspec

from ops.json_schemas import documented_types
from ops.permissions import INBOXES, PARTIES, grants
from schemas import resources
from schemas.channel import PARAMETERS, Channel
from schemas.channels import CHANNELS
from schemas.errors import MeshError, OutOfSpace

_BLOCK = re.compile(r"(<!-- generated:(?P<name>[a-z-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def refresh(text: str, tables: Mapping[str, Callable[[], str]] | None = None) -> str:
    """`text` with every generated block as it must be now; None: blocks of the contract.

    Raises:
        KeyError: a block of a name that there is no table for.
    """
    known = _TABLES if tables is None else tables
    return _BLOCK.sub(lambda match: f"{match[1]}{known[match['name']]()}\n{match[3]}", text)


def permissions_document() -> str:
    """The whole of nats/permissions.md."""
    parts = [
        "# Bus permissions",
        "",
        "Generated from the channel table by `python -m ops.generate`; `permissions.json` beside it has the same for a",
        "server's configuration, `framemesh nats-config` prints it with the keys of a mesh, and tests run a whole mesh",
        "under it and try every subject that is not granted.",
        "",
        "Nobody but `setup` makes buckets and streams: whoever may create a stream may let it copy another one.",
        "Services answer requests (`allow_responses`). Every user hears replies under an inbox prefix of its own. NATS",
        "checks neither the reply subject of a request nor the deliver subject of a consumer against these lists. A",
        "`*` in the place of a node can be replaced with the name of the user's own node.",
        "",
    ]
    for party, grant in grants().items():
        allowed = grant.as_permissions()
        parts += [f"## {party}", "", f"Inbox prefix `{INBOXES[party]}`.", "", "Publishes:", ""]
        for subject in allowed["publish"]["allow"]:
            parts.append(f"- `{subject}`")
        parts += ["", "Subscribes to:", "", *(f"- `{subject}`" for subject in allowed["subscribe"]["allow"]), ""]
    return "\n".join(parts)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)])


def _code(text: str) -> str:
    return f"`{text}`"


def _payload(channel: Channel) -> str:
    if channel.payload is None:
        return channel.encoding
    return _code(channel.payload.__name__) + (" + bytes" if channel.encoding == "msgpack+bytes" else "")


def _some(parties: Sequence[str]) -> str:
    return "all" if set(parties) == set(PARTIES) else ", ".join(parties) or "-"


def _planes() -> str:
    return table(
        ("channel", "subject", "message", "delivery", "publishes", "subscribes"),
        (
            (c.name, _code(c.address), _payload(c), c.semantics, _some(c.senders), _some(c.receivers))
            for c in CHANNELS
            if c.semantics in ("latest-wins", "at-most-once", "jetstream", "work-queue")
        ),
    )


def _commands() -> str:
    return table(
        ("command", "subject", "request", "reply", "may be called by", ""),
        (
            (
                c.name,
                _code(c.address),
                _payload(c),
                _code(c.reply.__name__) if c.reply else "-",
                _some(c.senders),
                c.summary,
            )
            for c in CHANNELS
            if c.semantics == "request-reply"
        ),
    )


def _state() -> str:
    return table(
        ("bucket", "key", "value", "written by", "read by", ""),
        (
            (_code(c.bucket), _code(c.key), _payload(c), _some(c.senders), _some(c.receivers), c.summary)
            for c in CHANNELS
            if c.bucket
        ),
    )


def _parameters() -> str:
    return table(("part", "meaning"), ((_code(f"{{{name}}}"), text) for name, text in PARAMETERS.items()))


def _errors() -> str:
    # Only those of the bus: a service may have some of its own beside it, of its HTTP door for example.
    kinds: list[type[MeshError]] = [
        kind for kind in (*MeshError.__subclasses__(), OutOfSpace) if kind.__module__ == MeshError.__module__
    ]
    rows = sorted({(kind.code, kind.__name__, (kind.__doc__ or "").splitlines()[0]) for kind in kinds})
    return table(("code", "error", "meaning"), ((str(code), _code(name), text) for code, name, text in rows))


def _states() -> str:
    kinds: tuple[tuple[str, Any], ...] = (
        ("stream", resources.StreamState),
        ("rendition", resources.RenditionState),
        ("output", resources.OutputState),
    )
    return table(("resource", "states"), ((name, " ".join(map(_code, get_args(kind)))) for name, kind in kinds))


def _unknown_fields() -> str:
    refused = {kind.__name__ for kind in documented_types() if kind.__struct_config__.forbid_unknown_fields}
    ignored = {kind.__name__ for kind in documented_types()} - refused
    rows = [("refused", refused), ("ignored", ignored)]
    return table(("unknown fields", "messages"), ((word, " ".join(map(_code, sorted(names)))) for word, names in rows))


def _messages() -> str:
    rows = []
    for kind in documented_types():
        fields = msgspec.structs.fields(kind)
        given = [_code(f.encode_name) for f in fields if f.required]
        others = [_code(f.encode_name) for f in fields if not f.required]
        rows.append((f"[{kind.__name__}](json-schema/{kind.__name__}.json)", " ".join(given), " ".join(others)))
    return table(("message", "always there", "with a default"), rows)


_TABLES: dict[str, Callable[[], str]] = {
    "planes": _planes,
    "commands": _commands,
    "state": _state,
    "parameters": _parameters,
    "errors": _errors,
    "states": _states,
    "unknown-fields": _unknown_fields,
    "messages": _messages,
}
