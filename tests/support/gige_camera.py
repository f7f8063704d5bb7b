"""A GigE Vision camera in Python: every pixel format, chunk data, a clock of its own, and all that goes wrong.

For what aravis' camera in software does not have. Speaks GVCP and GVSP as far as a receiver asks; its pictures are
computed, so that a test knows every sample.
"""

import contextlib
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np

from tests.support import gige_description as device
from tests.support.packing import packed

PORT = 3956
_XML_AT = 0x10000
_CCP, HEARTBEAT, _XML_URL = 0x0A00, 0x0938, 0x0200
_STREAM_PORT, _PACKET_SIZE, _STREAM_TO = 0x0D00, 0x0D04, 0x0D18
_ACCESS_DENIED = 0x8006
_HEADER_BYTES = 36  # of IP, UDP and GVSP
_MAC = bytes.fromhex("0211deadbe01")


def sample(bits: int, width: int, height: int) -> np.ndarray:  # type: ignore[type-arg]
    """What the camera sees: a ramp that uses every bit."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return ((x * 37 + y * 101) % (1 << bits)).astype(np.uint16)


class GigeCamera:
    """One camera, `Test-Eye-<serial>`, 64x48 Mono8 at 20 fps, until `close`. Registers can be read and set."""

    def __init__(
        self, address: str = "127.0.0.2", serial: str = "T0001", *, description: bytes = b"", place: str = ""
    ) -> None:
        """`description`, `place`: what a hostile camera says of itself, and where."""
        self.address, self.serial = address, serial
        self.lose_packet: int | None = None
        """Number of a packet that each picture lacks."""
        self.skip_frames = 0
        """So many frame ids are left out before the next picture."""
        self.silent = False
        """Answer nothing and send nothing, as after a pulled cable."""
        self.inverted = False
        """What it sees has changed."""
        self.frames_sent = 0
        self.signs_of_life = 0
        """Commands of the controller."""
        self._memory = bytearray(_XML_AT) + (description or device.description())
        self._memory[len(self._memory) :] = bytes(-len(self._memory) % 4)
        self._controller: tuple[str, int] | None = None
        self._heard_at = 0.0
        self._frame_id = 0
        self._triggers = 0
        self._next_at = 0.0
        self._started_at = time.monotonic()
        self._reset()
        if place:
            self._memory[_XML_URL : _XML_URL + 512] = place.encode().ljust(512, b"\0")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, PORT))
        self._socket.setblocking(False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gige camera", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._socket.close()

    def __enter__(self) -> "GigeCamera":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register(self, address: int) -> float:
        kind = ">f" if address in device.FLOATS else ">I"
        return float(struct.unpack_from(kind, self._memory, address)[0])

    def set_register(self, address: int, value: float) -> None:
        if address in device.FLOATS:
            struct.pack_into(">f", self._memory, address, value)
        else:
            struct.pack_into(">I", self._memory, address, int(value))

    def pull_line(self) -> None:
        """An edge at the trigger line."""
        self._triggers += 1

    @property
    def controlled(self) -> bool:
        return self._controller is not None

    # -- control ---------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        memory = self._memory
        memory[0x0A:0x10] = _MAC
        memory[0x24:0x28] = socket.inet_aton(self.address)
        for at, text in ((0x48, "Test"), (0x68, "Eye"), (0xD8, self.serial)):
            memory[at : at + len(text)] = text.encode()
        url = f"Local:eye.xml;{_XML_AT:x};{len(memory) - _XML_AT:x}\0".encode()
        memory[_XML_URL : _XML_URL + len(url)] = url
        for address, value in (
            (0x0000, 0x00010002), (0x0004, 0x80000000), (0x0600, 1), (0x0904, 1), (HEARTBEAT, 3000),
            (0x0940, device.TICKS_PER_SECOND), (0x0934, 0x2), (_PACKET_SIZE, 1400),
            (device.WIDTH, 64), (device.HEIGHT, 48), (device.PIXEL_FORMAT, device.PIXEL_FORMATS["Mono8"]),
            (device.BINNING_X, 1), (device.BINNING_Y, 1), (device.RATE_ENABLE, 1), (device.RATE, 20),
            (device.EXPOSURE, 10_000), (device.LINES, 5),
        ):  # fmt: skip
            self.set_register(address, value)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as streaming:
            selector.register(self._socket, selectors.EVENT_READ)
            streaming.bind((self.address, 0))
            while not self._stop.is_set():
                if selector.select(0.002):
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            message, sender = self._socket.recvfrom(2048)
                            if not self.silent and len(message) >= 8:
                                self._command(message, sender)
                if self._controller and time.monotonic() - self._heard_at > self.register(HEARTBEAT) / 1000:
                    self._let_go()
                self._perhaps_send(streaming)

    def _let_go(self) -> None:
        self._controller = None
        self.set_register(_CCP, 0)
        self.set_register(device.ACQUISITION, 0)

    def _command(self, message: bytes, sender: tuple[str, int]) -> None:
        _, _, command, length, request = struct.unpack_from(">BBHHH", message)
        body = message[8 : 8 + length]
        if sender == self._controller:
            self._heard_at = time.monotonic()
            self.signs_of_life += 1
        status, answer = 0, b""
        if command == 0x02:
            answer = bytes(self._memory[:0xF8])
        elif command == 0x80:
            places = struct.unpack(f">{len(body) // 4}I", body)
            answer = b"".join(bytes(self._memory[place : place + 4]) for place in places)
        elif command == 0x84:
            place, count = struct.unpack(">II", body[:8])
            answer = body[:4] + bytes(self._memory[place : place + count]).ljust(count, b"\0")
        elif command in (0x82, 0x86):
            if self._controller not in (None, sender):
                status = _ACCESS_DENIED
            elif command == 0x82:
                for place, value in struct.iter_unpack(">II", body):
                    self._written(place, value, sender)
                answer = struct.pack(">HH", 0, len(body) // 8)
            else:
                place = int.from_bytes(body[:4], "big")
                for index, (value,) in enumerate(struct.iter_unpack(">I", body[4:])):
                    self._written(place + 4 * index, value, sender)
                answer = struct.pack(">HH", 0, len(body) - 4)
        else:
            return  # a request for lost packets: this camera has no memory for them
        self._socket.sendto(struct.pack(">HHHH", status, command + 1, len(answer), request) + answer, sender)

    def _written(self, place: int, value: int, sender: tuple[str, int]) -> None:
        struct.pack_into(">I", self._memory, place, value)
        if place == _CCP:
            self._controller, self._heard_at = (sender if value else None), time.monotonic()
            if not value:
                self._let_go()
        elif place == device.TRIGGER_SOFTWARE and self.register(device.TRIGGER_SOURCE) == 2:
            self._triggers += 1
        elif place == device.ACQUISITION and value:
            self._frame_id, self._triggers, self._next_at = 0, 0, time.monotonic()

    # -- pictures --------------------------------------------------------------------------------------------

    def _perhaps_send(self, streaming: socket.socket) -> None:
        now = time.monotonic()
        if self.silent or not self._controller or not self.register(device.ACQUISITION):
            return
        if self.register(device.TRIGGER_MODE):
            if not self._triggers:
                return
            self._triggers -= 1
        else:
            if now < self._next_at:
                return
            period = 1 / self.register(device.RATE)
            self._next_at = max(self._next_at + period, now - period)
        self._send(streaming)

    def _send(self, streaming: socket.socket) -> None:
        self._frame_id = (self._frame_id + self.skip_frames) % 0xFFFF + 1
        self.skip_frames = 0
        width, height = int(self.register(device.WIDTH)), int(self.register(device.HEIGHT))
        code = int(self.register(device.PIXEL_FORMAT))
        data = self.image(code, width, height)
        if self.inverted:
            data = np.invert(np.frombuffer(data, np.uint8)).tobytes()
        chunked = bool(self.register(device.CHUNK_MODE))
        if chunked:
            data += self._chunks(len(data))
        ticks = round((time.monotonic() - self._started_at) * device.TICKS_PER_SECOND)
        payload_type = 0x4001 if chunked else 1
        leader = struct.pack(
            ">HHIIIIIIIHH", 0, payload_type, ticks >> 32, ticks & 0xFFFFFFFF, code, width, height,
            int(self.register(device.OFFSET_X)), int(self.register(device.OFFSET_Y)), 0, 0,
        )  # fmt: skip
        size = (int(self.register(_PACKET_SIZE)) & 0xFFFF) - _HEADER_BYTES
        parts = [data[start : start + size] for start in range(0, len(data), size)]
        trailer = struct.pack(">HHI", 0, payload_type, height)
        target = socket.inet_ntoa(self._memory[_STREAM_TO : _STREAM_TO + 4]), int(self.register(_STREAM_PORT)) & 0xFFFF
        kinds = [(1, leader), *((3, part) for part in parts), (2, trailer)]
        for number, (kind, body) in enumerate(kinds):
            if number != self.lose_packet and target[1]:
                header = struct.pack(">HHI", 0, self._frame_id, kind << 24 | number)
                with contextlib.suppress(OSError):  # nobody listens any more
                    streaming.sendto(header + body, target)
        self.frames_sent += 1

    @staticmethod
    def image(code: int, width: int, height: int) -> bytes:
        """The bytes of a picture in one of the formats."""
        name = next(name for name, number in device.PIXEL_FORMATS.items() if number == code)
        if name in ("RGB8", "BGR8"):
            grey = sample(8, width, height).astype(np.uint8)
            picture = np.stack((grey, grey + 1, grey + 2), axis=-1)
            return (picture if name == "RGB8" else picture[..., ::-1]).tobytes()
        if name == "YUV422_8":
            picture = np.full((height, width, 2), 128, np.uint8)
            picture[..., 0] = sample(8, width, height)
            return picture.tobytes()
        bits = int("".join(character for character in name if character.isdigit()))
        samples = sample(bits, width, height)
        if bits == 8:
            return samples.astype(np.uint8).tobytes()
        if name.endswith(("p", "Packed")):
            return packed(name, samples.reshape(-1).tolist())
        return samples.astype("<u2").tobytes()

    def _chunks(self, image_bytes: int) -> bytes:
        """The image's own mark, then each chunk with its mark behind it."""
        out = struct.pack(">II", 0x1, image_bytes)
        values = {
            "ExposureTime": struct.pack(">f", self.register(device.EXPOSURE)),
            "Gain": struct.pack(">f", self.register(device.GAIN)),
            "FrameID": struct.pack(">I", self._frame_id),
            "LineStatusAll": struct.pack(">I", int(self.register(device.LINES))),
        }
        for index, (name, number) in enumerate(device.CHUNKS.items()):
            if self.register(device.CHUNK_ENABLE + 4 * index):
                out += values[name] + struct.pack(">II", number, 4)
        return out.ljust(device.CHUNK_BYTES + 8, b"\0") if len(out) > device.CHUNK_BYTES else out


@contextlib.contextmanager
def gige_camera() -> Iterator[GigeCamera]:
    with GigeCamera() as camera:
        yield camera


if __name__ == "__main__":  # a camera that can be killed
    GigeCamera(*sys.argv[1:])
    threading.Event().wait()
