"""Ways in for commands: each body through its real type, the explanation of what is wrong, and the checks without I/O.

An input is the command's name in the table of channels, a line end, and the body.
"""

import functools
import random
from collections.abc import Callable
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from schemas.channels import CHANNELS
from schemas.encoding import check_encoding
from schemas.errors import BadRequest
from schemas.mix_resources import MixSpec, check_mix
from schemas.packets import UNREADABLE
from schemas.resources import StreamSpec
from schemas.rule_checks import check_rule
from schemas.sample_resources import SampleSpec, check_sample
from schemas.sampling import check_options, check_sampling
from schemas.signal_resources import RuleSpec
from services.capture.sources import check_source
from services.cloud_mix_proxy.mixes.sources import check_sources
from shared.explain import MAX_ERROR_CHARACTERS, explain_decode_error
from shared.redacted import redacted

_LONGEST_EXPLANATION: Final = MAX_ERROR_CHARACTERS
_DEPTH: Final = 4
_IDS: Final = ("cam0", "line1", "main", "nobody", "a--b")
_TEXTS: Final = ("200ms", "4M", "64x48", "test://", "mesh://cam0", "file://a/{index}.jpg", "app.line1.ng", "x", "1h")


@functools.cache
def requests() -> dict[str, type[Struct]]:
    """By the command's address: what it takes."""
    return {
        item.address.split(".cmd.", 1)[-1]: item.payload
        for item in CHANNELS
        if item.semantics == "request-reply" and item.payload is not None
    }


def command(data: bytes) -> None:
    """One command's body."""
    name, _, body = data.partition(b"\n")
    kind = requests().get(name.decode("ascii", "replace"))
    if kind is None:
        return
    redacted(body)
    try:
        request: Any = msgspec.json.decode(body or b"{}", type=kind)
    except UNREADABLE as error:
        _check_explanation(explain_decode_error(error, kind, body))
        return
    msgspec.json.decode(msgspec.json.encode(request), type=kind)
    for check in _checks(request):
        assert len(_refusal_of(check)) < _LONGEST_EXPLANATION


def _refusal_of(check: Callable[[], object]) -> str:
    """What a check says; empty when it has nothing against it."""
    try:
        check()
    except BadRequest as error:
        return error.message
    return ""


def _check_explanation(text: str) -> None:
    assert 0 < len(text) <= _LONGEST_EXPLANATION, f"{len(text)} characters: {text[:200]}"
    assert text.isprintable(), ascii(text)


def _checks(request: Any) -> list[Callable[[], object]]:
    found: list[Callable[[], object]] = []
    if isinstance(request, StreamSpec):
        found.append(lambda: check_source(request))
    if hasattr(request, "rate_control"):
        found.append(lambda: check_encoding(request))
    if isinstance(request, RuleSpec):
        found.append(lambda: check_rule(request))
    if isinstance(request, MixSpec):
        found += [lambda: check_mix(request), lambda: check_sources(request)]
    if isinstance(request, SampleSpec):
        found.append(lambda: check_sample(request))
    if hasattr(request, "sampling"):
        found.append(lambda: check_sampling(request.sampling))
    if hasattr(request, "pictures") and hasattr(request.pictures, "format"):
        found.append(lambda: check_options(request.pictures))
    return found


def commands() -> list[bytes]:
    """Two bodies of each: one with what it must have, one with everything."""
    dice = random.Random(7)
    made = []
    for name, kind in sorted(requests().items()):
        for everything in (False, True):
            body = msgspec.json.encode(_struct(dice, kind, everything=everything, depth=0))
            made.append(name.encode() + b"\n" + body)
    return made


def _struct(dice: random.Random, kind: type[Any], *, everything: bool, depth: int) -> dict[str, Any]:
    return {
        field.encode_name: _value(dice, field.type, field.name, everything, depth)
        for field in msgspec.structs.fields(kind)
        if field.required or (everything and depth < _DEPTH)
    }


def _value(dice: random.Random, kind: Any, name: str, everything: bool, depth: int) -> Any:
    """Something of the type; bounds and patterns are met where names tell what is meant, as people meet them."""
    origin = get_origin(kind)
    if origin is Literal:
        return dice.choice(get_args(kind))
    if origin is Union or type(kind).__name__ == "UnionType":
        return _value(
            dice, dice.choice([one for one in get_args(kind) if one is not type(None)]), name, everything, depth
        )
    if hasattr(kind, "__metadata__"):
        inner = get_args(kind)[0]
        if inner is str:
            return dice.choice(_IDS if "pattern" in repr(kind) and "units" not in repr(kind) else _TEXTS)
        return _value(dice, inner, name, everything, depth)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _struct(dice, kind, everything=everything, depth=depth + 1)
    if origin in (tuple, list, frozenset):
        item = get_args(kind)[0]
        return [_value(dice, item, name, everything, depth + 1) for _ in range(dice.choice((1, 2)))]
    if origin is dict:
        return {"key": _value(dice, get_args(kind)[1], name, everything, depth + 1)}
    plain = {bool: True, int: 1, float: 1.0, str: dice.choice(_TEXTS), bytes: "AAAA"}
    return plain.get(kind, {"x": 1})
