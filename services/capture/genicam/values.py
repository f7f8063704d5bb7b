"""Holding a value against a camera's feature."""

import difflib
import math
import sys

from schemas.errors import InvalidValue
from schemas.pictures import ControlValue
from services.capture.genicam.camera import Camera, Feature

_NEAR_NAMES = 3
_MAX_SHOWN_ENTRIES = 24  # an error must fit a line or two
_LARGEST = {"integer": 2**63 - 1, "float": sys.float_info.max}
_STEP_TOLERANCE = 1e-6  # of a step: floats do not divide evenly


def feature_for(camera: Camera, field: str, name: str, value: object) -> Feature:
    """The feature, as it is now.

    Raises:
        InvalidValue: the camera has none of that name; names some that are near.
    """
    feature = camera.feature(name)
    if feature is None:
        near = difflib.get_close_matches(name, camera.feature_names(), _NEAR_NAMES, cutoff=0.5)
        fix = f"this camera has {' '.join(near)}" if near else "this camera has nothing like it; leave it out"
        raise InvalidValue(field, value, fix)
    return feature


def check_value(feature: Feature, field: str, value: ControlValue, *, writable: bool = True) -> ControlValue:
    """The value in the feature's own type.

    Args:
        writable: also refuse what cannot be set now.

    Raises:
        InvalidValue: wrong type, out of range, between steps, no such entry, read-only.
    """
    if writable and not feature.writable:
        raise InvalidValue(field, value, "the camera does not let this be set, in the state it is in; leave it out")
    if feature.kind in ("integer", "float"):
        return _number(feature, field, value)
    if feature.kind == "boolean":
        if not isinstance(value, bool):
            raise InvalidValue(field, value, "use true or false")
        return value
    if feature.kind == "command":
        if value is not True:
            raise InvalidValue(field, value, "this is a command; use true to have it carried out")
        return value
    if not isinstance(value, str):
        raise InvalidValue(field, value, f"use {allowed(feature)}")
    if feature.kind == "enumeration" and value not in feature.entries:
        raise InvalidValue(field, value, f"use {allowed(feature)}")
    if "\0" in value:
        raise InvalidValue(field, value, "leave the NUL character out")
    return value


def allowed(feature: Feature) -> str:
    """`10 to 10000000 us`, `one of Off, Once`: what an error says."""
    if feature.kind == "enumeration":
        entries = feature.entries[:_MAX_SHOWN_ENTRIES]
        more = ", …" if len(feature.entries) > len(entries) else ""
        return f"one of {', '.join(entries)}{more}" if entries else "nothing: no entry can be chosen now"
    if feature.kind == "string":
        return "a text"
    if feature.kind not in ("integer", "float"):
        return "true or false"
    low, high = feature.minimum, feature.maximum
    kind = "a whole number" if feature.kind == "integer" else "a number"
    if low is not None and high is not None:
        text = f"{low:.10g} to {high:.10g}"
    elif low is not None or high is not None:
        text = f"{kind}, {f'{low:.10g} at least' if low is not None else f'{high:.10g} at most'}"
    else:
        text = kind
    unit = f" {feature.unit}" if feature.unit else ""
    step = feature.increment
    return text + unit + (f" in steps of {step:.10g}" if step and not (feature.kind == "integer" and step == 1) else "")


def _number(feature: Feature, field: str, value: ControlValue) -> int | float:
    # An integer feature has 64 bits, and a float's have their end too: beyond, the library would take another value.
    if isinstance(value, bool | str) or abs(value) > _LARGEST[feature.kind] or not math.isfinite(value):
        raise InvalidValue(field, value, f"use {allowed(feature)}")
    if feature.kind == "integer" and value != int(value):
        raise InvalidValue(field, value, f"use {allowed(feature)}")
    low, high, step = feature.minimum, feature.maximum, feature.increment
    if (low is not None and value < low) or (high is not None and value > high):
        raise InvalidValue(field, value, f"use {allowed(feature)}")
    if step:
        steps = (value - (low or 0)) / step
        if abs(steps - round(steps)) > _STEP_TOLERANCE:
            raise InvalidValue(field, value, f"use {allowed(feature)}")
    return int(value) if feature.kind == "integer" else float(value)
