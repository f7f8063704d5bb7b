"""A camera through harvesters (Apache-2.0) and a GenTL producer, the library that its maker gives along."""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from schemas.errors import Unavailable
from schemas.pictures import ControlValue
from services.capture.genicam.camera import Buffer, Camera, Feature, FeatureKind, FeatureRefused, Found

# GenICam's own binding waits for a picture without giving Python's lock back: every thread of this service would
# stand still. So it is asked without waiting; a picture is found so much later, its time is the camera's.
_POLL_SECONDS = 0.002
_MAX_FEATURES = 4_096
_NO_BOUND = 2.0**62  # the type's own limits stand where the camera names none


def reason(error: Exception) -> str:
    """The library's own words, without its file and line."""
    return str(error).partition(" : ")[0][:200]


class HarvestersCamera(Camera):
    def __init__(self, found: Found, acquirer: Any, closed: Callable[[], None]) -> None:
        from genicam import genapi, gentl

        super().__init__(found)
        self._genapi, self._gentl = genapi, gentl
        self._failures = (genapi.GenericException, gentl.GenericException)
        self._acquirer, self._closed = acquirer, closed
        self._nodes = acquirer.remote_device.node_map
        self._kinds: tuple[tuple[type[Any], FeatureKind], ...] = (
            (genapi.IEnumeration, "enumeration"),
            (genapi.ICommand, "command"),
            (genapi.IBoolean, "boolean"),
            (genapi.IFloat, "float"),
            (genapi.IInteger, "integer"),
            (genapi.IString, "string"),
        )
        self._chunk_names: tuple[str, ...] = ()
        self._names = self._walk()

    # -- features --------------------------------------------------------------------------------------------

    def feature_names(self) -> tuple[str, ...]:
        return self._names

    def feature(self, name: str) -> Feature | None:
        with self.lock:
            self._check_open()
            node = self._node(name)
            kind = self._kind(node)
            if kind is None or not self._genapi.is_implemented(node):
                return None
            readable = kind != "command" and self._genapi.is_readable(node)
            entries: tuple[str, ...] = ()
            bounds: dict[str, Any] = {}
            try:
                if kind == "enumeration":
                    entries = tuple(entry.symbolic for entry in node.entries if self._genapi.is_available(entry))
                if kind in ("integer", "float") and readable:
                    low, high = node.min, node.max
                    bounds = {
                        "minimum": low if abs(low) < _NO_BOUND else None,
                        "maximum": high if abs(high) < _NO_BOUND else None,
                        "unit": node.unit or "",
                    }
                    if kind == "integer" or node.has_inc():
                        bounds["increment"] = node.inc
                value = node.value if readable else None
            except self._failures:
                value, readable = None, False
            return Feature(
                name=name,
                kind=kind,
                readable=readable,
                writable=self._genapi.is_writable(node),
                value=value,
                entries=entries,
                **bounds,
            )

    def set(self, name: str, value: ControlValue) -> None:
        with self.lock:
            self._check_open()
            node = self._node(name)
            if node is None:
                raise FeatureRefused(f"there is no feature {name}")
            try:
                if self._kind(node) == "command":
                    node.execute()
                else:
                    node.value = value
            except self._failures as error:
                raise FeatureRefused(reason(error)) from None

    def read_chunks(self, names: tuple[str, ...]) -> None:
        self._chunk_names = names

    def _node(self, name: str) -> Any:
        try:
            return self._nodes.get_node(name)
        except self._failures:
            return None

    def _kind(self, node: Any) -> FeatureKind | None:
        return next((kind for of_type, kind in self._kinds if isinstance(node, of_type)), None)

    def _walk(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        waiting = [self._node("Root")]
        while waiting and len(found) < _MAX_FEATURES:
            for node in getattr(waiting.pop(), "features", ()):
                if isinstance(node, self._genapi.ICategory):
                    waiting.append(node)
                elif self._kind(node):
                    found[node.node.name] = None
        return tuple(found)

    # -- pictures --------------------------------------------------------------------------------------------

    def start(self) -> None:
        with self.lock:
            try:
                self._acquirer.start()
            except self._failures as error:
                raise FeatureRefused(reason(error)) from None
        # No public call tells of pictures that are not whole, so its monitor of new buffers is asked itself.
        (self._monitor,) = self._acquirer._new_buffer_event_monitor_dict.values()

    def next(self, timeout_seconds: float) -> Buffer | None:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self._monitor.update_event_data(0)
                break
            except self._gentl.TimeoutException:
                if time.monotonic() >= deadline:
                    return None
                time.sleep(_POLL_SECONDS)
            except self._failures:
                self.lost.set()
                return None
        return self._buffer(self._monitor.buffer, time.time_ns())

    def _buffer(self, raw: Any, arrived_ns: int) -> Buffer:
        def number(name: str) -> int:
            try:
                return int(getattr(raw, name))
            except self._failures:  # not every producer tells everything
                return 0

        complete = False
        data = np.empty(0, np.uint8)
        with contextlib.suppress(*self._failures):
            complete = bool(raw.is_complete()) and bool(raw.contains_image())
        if complete:
            # A view of the producer's memory, no copy: it is used up before the buffer is given back.
            data = np.frombuffer(raw.raw_buffer, np.uint8, offset=number("image_offset"))
        return Buffer(
            data=data,
            width=number("width"),
            height=number("height"),
            pixel_format=number("pixel_format"),
            complete=complete,
            frame_id=number("frame_id"),
            device_ns=number("timestamp_ns"),
            arrived_ns=arrived_ns,
            row_padding_bytes=number("padding_x"),
            chunks=self._chunks(raw) if complete and self._chunk_names else {},
            handle=raw,
        )

    def _chunks(self, raw: Any) -> dict[str, int | float | str | bool]:
        with self.lock, contextlib.suppress(*self._failures):
            self._acquirer._update_chunk_data(buffer=raw, is_manual=False)
            nodes = {name: self._node(name) for name in self._chunk_names}
            values = {name: node.value for name, node in nodes.items() if node and self._genapi.is_readable(node)}
            # A reference, in JSON, has no other numbers than finite ones.
            return {
                name: value for name, value in values.items() if not isinstance(value, float) or math.isfinite(value)
            }
        return {}

    def give_back(self, buffer: Buffer) -> None:
        raw: Any = buffer.handle
        buffer.data = np.empty(0, np.uint8)
        with contextlib.suppress(*self._failures):
            raw.parent.queue_buffer(raw)

    def answers(self) -> bool:
        try:
            with self.lock:
                _ = self._nodes.get_node("Width").value
        except (*self._failures, AttributeError):  # the latter: closed
            return False
        return not self.lost.is_set()

    def stop(self) -> None:
        with self.lock, contextlib.suppress(*self._failures):
            self._acquirer.stop()

    def close(self) -> None:
        with self.lock:
            nodes, self._nodes = self._nodes, None
            if nodes is None:
                return
            try:
                with contextlib.suppress(*self._failures):
                    self._acquirer.destroy()
            finally:
                self._closed()

    def _check_open(self) -> None:
        """Raises:
        Unavailable: another thread still had it when it was closed.
        """
        if self._nodes is None:
            raise Unavailable(f"camera {self.found.name} has just been closed; try again")
