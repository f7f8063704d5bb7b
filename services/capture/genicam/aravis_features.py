"""The camera's description (its GenICam nodes) read through aravis."""

import contextlib
import ctypes
import math
from ctypes import byref, c_double, c_int64, c_uint

from schemas.pictures import ControlValue
from services.capture.genicam.aravis_library import Aravis
from services.capture.genicam.camera import Feature, FeatureKind, FeatureRefused

_READ_ONLY, _WRITE_ONLY, _READ_WRITE = 0, 1, 2
_MAX_FEATURES = 4_096  # of the largest cameras; a description may be hostile or go in circles
_NO_BOUND = 2.0**62  # aravis gives the type's own limits where the camera names none
_NO_INCREMENT = 1e-300


class AravisFeatures:
    """Features of one opened device. Not thread-safe: the camera's lock is held by who calls."""

    def __init__(self, library: Aravis, device: int) -> None:
        self._library = library
        self._device = device
        # In this order: an enumeration is an integer and a string too.
        self._types: tuple[tuple[FeatureKind, int], ...] = (
            ("enumeration", library.arv_gc_enumeration_get_type()),
            ("command", library.arv_gc_command_get_type()),
            ("boolean", library.arv_gc_boolean_get_type()),
            ("float", library.arv_gc_float_get_type()),
            ("integer", library.arv_gc_integer_get_type()),
            ("string", library.arv_gc_string_get_type()),
        )
        self._category_type = library.arv_gc_category_get_type()
        self.names = self._walk()

    def kind(self, name: str) -> FeatureKind | None:
        node = self._library.arv_device_get_feature(self._device, name.encode())
        return self._kind(node) if node else None

    def feature(self, name: str) -> Feature | None:
        node = self._library.arv_device_get_feature(self._device, name.encode())
        kind = self._kind(node) if node else None
        if kind is None:
            return None
        try:
            if not self._library.call("arv_gc_feature_node_is_implemented", node):
                return None
            usable = bool(self._library.call("arv_gc_feature_node_is_available", node))
            locked = bool(self._library.call("arv_gc_feature_node_is_locked", node))
        except FeatureRefused:  # a description that refers to what is not there
            return None
        access = self._library.arv_gc_feature_node_get_actual_access_mode(node)
        readable = usable and access != _WRITE_ONLY and kind != "command"
        return Feature(
            name=name,
            kind=kind,
            readable=readable,
            writable=usable and not locked and access != _READ_ONLY,
            value=self.value(name, kind) if readable else None,
            entries=self._entries(name) if kind == "enumeration" and usable else (),
            unit=self._unit(kind, node),
            **(self._bounds(name, kind) if usable else {}),
        )

    def value(self, name: str, kind: FeatureKind) -> ControlValue | None:
        """None: it cannot be read now."""
        read = "string" if kind == "enumeration" else kind
        try:
            value = self._library.call(f"arv_device_get_{read}_feature_value", self._device, name.encode())
        except FeatureRefused:
            return None
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if kind == "boolean":
            return bool(value)
        return value if value is None or math.isfinite(value) else None

    def set(self, name: str, kind: FeatureKind, value: ControlValue) -> None:
        encoded = name.encode()
        if kind == "command":
            self._library.call("arv_device_execute_command", self._device, encoded)
        elif kind in ("enumeration", "string"):
            self._library.call("arv_device_set_string_feature_value", self._device, encoded, str(value).encode())
        else:
            converted = float(value) if kind == "float" else int(value)
            self._library.call(f"arv_device_set_{kind}_feature_value", self._device, encoded, converted)

    def _kind(self, node: int) -> FeatureKind | None:
        return next((kind for kind, type_number in self._types if self._library.is_a(node, type_number)), None)

    def _entries(self, name: str) -> tuple[str, ...]:
        number = c_uint()
        call = "arv_device_dup_available_enumeration_feature_values_as_strings"
        try:
            entries = self._library.call(call, self._device, name.encode(), byref(number))
        except FeatureRefused:
            return ()
        if not entries:
            return ()
        found = tuple((entries[index] or b"").decode("utf-8", "replace") for index in range(number.value))
        self._library.g_free(entries)  # the array; the names belong to the description
        return found

    def _bounds(self, name: str, kind: FeatureKind) -> dict[str, float | None]:
        if kind not in ("integer", "float"):
            return {}
        low, high = (c_int64(), c_int64()) if kind == "integer" else (c_double(), c_double())
        encoded = name.encode()
        try:
            self._library.call(f"arv_device_get_{kind}_feature_bounds", self._device, encoded, byref(low), byref(high))
        except FeatureRefused:
            return {}
        increment = 0
        with contextlib.suppress(FeatureRefused):  # a float has seldom one
            increment = self._library.call(f"arv_device_get_{kind}_feature_increment", self._device, encoded)
        return {
            "minimum": low.value if abs(low.value) < _NO_BOUND else None,
            "maximum": high.value if abs(high.value) < _NO_BOUND else None,
            "increment": increment if increment > _NO_INCREMENT else None,
        }

    def _unit(self, kind: FeatureKind, node: int) -> str:
        if kind not in ("integer", "float"):
            return ""
        unit = getattr(self._library, f"arv_gc_{kind}_get_unit")(node)
        return (unit or b"").decode("utf-8", "replace")

    def _walk(self) -> tuple[str, ...]:
        """Names of all features, depth first from the category Root."""
        found: dict[str, None] = {}
        categories, waiting = {"Root"}, ["Root"]
        while waiting and len(found) < _MAX_FEATURES:
            node = self._library.arv_device_get_feature(self._device, waiting.pop().encode())
            if not node or not self._library.is_a(node, self._category_type):
                continue
            for name in self._members(node):
                member = self._library.arv_device_get_feature(self._device, name.encode())
                if not member:
                    continue
                if not self._library.is_a(member, self._category_type):
                    found[name] = None
                elif name not in categories:
                    categories.add(name)
                    waiting.append(name)
        return tuple(found)

    def _members(self, category: int) -> list[str]:
        entry = self._library.arv_gc_category_get_features(category)
        names: list[str] = []
        while entry and len(names) < _MAX_FEATURES:
            names.append((ctypes.string_at(entry.contents.data)).decode("utf-8", "replace"))
            entry = entry.contents.next
        return names
