"""kill -9 of each service, and of the bus: how soon what it does is there again: `python -m tests.bench.restart`.

For who makes or sends pictures that is the picture in Chromium, from the kill to the first one after the gap; for the
others the next answer to a command of theirs. Beside it the service's imports alone, in a process that does nothing
else: what Python takes of it. At the end no ring may be left over. Results in results/restart.json; `--quick` kills
once and writes nothing.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.bench.dated import keep, machine
from tests.bench.startup import imports_seconds
from tests.support.console import console_page
from tests.support.mesh import CallFailed, RunningMesh, bunny
from tests.support.picture_watch import PictureWatch

RESULTS = Path(__file__).parent / "results" / "restart.json"
GOAL_SECONDS = 2.0
_KILLS, _QUICK_KILLS = 5, 1
_STREAM, _FPS = "cam0", 25
_STILL_PICTURES = 6  # that fail to come are a gap; fewer are a machine that did something else
_CALM_SECONDS = 12.0  # the launcher's longest pause before it starts what ends again and again
_POLL_SECONDS = 0.02
_BACK_SECONDS = 60.0  # later is no measurement
_SETTLED_SECONDS = 15.0

Back = Callable[[], float]
"""Kills, and returns after how many seconds all is there again."""


class Rig:
    """A mesh with a stream that is encoded, shown, recorded and mixed, and an output for machines."""

    def __init__(self, mesh: RunningMesh, shown: Page, mixed: Page) -> None:
        self._mesh, self._pages = mesh, {_STREAM: shown, "wall": mixed}
        lines = mesh.folder / "lines" / "line"
        lines.parent.mkdir(exist_ok=True)
        lines.touch()
        mesh.call("publisher.start", stream=_STREAM, output="rec", to="file://rec/{start}.mp4", wait_s=10)
        inputs = [{"input": "a", "source": f"mesh://{_STREAM}"}]
        mesh.call("cloud-mix-proxy.create", mix="wall", inputs=inputs, size="640x360", fps=_FPS)
        mesh.call("io-signal.start", signal="do1", mode="io", address=lines.as_uri(), keep="10ms")
        self._watches = {}
        for stream, page in self._pages.items():
            page.goto(mesh.console)
            self._watches[stream] = PictureWatch(page, stream)
            self._watches[stream].wait_for_pictures(_FPS, seconds=_SETTLED_SECONDS)
        self.rings = self._ring_names()

    def _ring_names(self) -> list[str]:
        return sorted(f"{name.split('.')[0]} {name.rsplit('.')[-1]}" for name in self._mesh.rings())

    def left_over(self) -> int:
        """Rings that are there and were not before, once all has settled."""
        try:
            self._mesh.wait_for(lambda: self._ring_names() == self.rings, _SETTLED_SECONDS, "the rings of before")
        except AssertionError:
            return max(1, len(self._ring_names()) - len(self.rings))
        return 0

    def picture(self, service: str, stream: str = _STREAM) -> float:
        watch = self._watches[stream]
        since_ms = watch.now_ms()
        self._mesh.kill(service)
        gap = watch.gap_after(since_ms, seconds=_BACK_SECONDS)
        return gap.back_after_seconds if gap.seconds > _STILL_PICTURES / _FPS else 0.0

    def answer(self, service: str, subject: str, **request: Any) -> float:
        """Until a command is answered that needs the service, or the bus."""
        killed = self._mesh.kill(service)
        began = time.monotonic()
        # A request that reaches the dead one's connection is lost, and waits for its whole deadline.
        self._mesh.wait_for(lambda: self._mesh.pids().get(service, killed) != killed, _BACK_SECONDS, f"a new {service}")
        while True:
            try:
                self._mesh.call(subject, **request)
            except (CallFailed, OSError):
                if time.monotonic() - began > _BACK_SECONDS:
                    raise
                time.sleep(_POLL_SECONDS)
                continue
            return time.monotonic() - began

    def recording(self) -> float:
        """Until a new file grows."""
        folder = self._mesh.media_dir / "rec"
        before = set(folder.glob("*.mp4"))
        self._mesh.kill("publisher")
        began = time.monotonic()
        self._mesh.wait_for(
            lambda: any(file.stat().st_size for file in set(folder.glob("*.mp4")) - before),
            _BACK_SECONDS,
            "a recording that grows",
        )
        return time.monotonic() - began

    def ways(self) -> dict[str, tuple[str, Back]]:
        """What is waited for, of each service."""
        return {
            "capture": ("its picture", lambda: self.picture("capture")),
            "hw-encode": ("its picture", lambda: self.picture("hw-encode")),
            "webrtc-gateway": ("its picture", lambda: self.picture("webrtc-gateway")),
            "publisher": ("a recording that grows", self.recording),
            "cloud-mix-proxy": ("the mix's picture", lambda: self.picture("cloud-mix-proxy", "wall")),
            "frame-extractor": (
                "a picture of the stream",
                lambda: self.answer("frame-extractor", "frame-extractor.picture", stream=_STREAM, wait_s=2),
            ),
            "io-signal": ("a pulse", lambda: self.answer("io-signal", "io-signal.pulse", signal="do1")),
            "nats-server": ("a command's answer", lambda: self.answer("nats-server", "capture.list")),
        }

    def whole_again(self, services: set[str]) -> None:
        self._mesh.wait_for(lambda: set(self._mesh.pids()) == services, _CALM_SECONDS, "every process")
        for watch in self._watches.values():
            watch.wait_for_pictures(_FPS, watch.now_ms(), _SETTLED_SECONDS)


def measure(kills: int) -> dict[str, Any]:
    """Every service in turn, `kills` times round: so none is killed while it waits to be started again."""
    with tempfile.TemporaryDirectory(prefix="framemesh-restart-") as folder:
        environment = {"FRAMEMESH_IO_SIGNAL_FILE_ROOTS": f"{folder}/lines"}
        (Path(folder) / "lines").mkdir()
        with (
            RunningMesh("--source", str(bunny()), environment=environment, folder=Path(folder)) as mesh,
            console_page() as console,
        ):
            browser = console.page.context.browser
            assert browser is not None
            rig = Rig(mesh, console.page, browser.new_page())
            services = set(mesh.pids())
            backs: dict[str, list[float]] = {}
            for number in range(kills):
                for service, (_, back) in rig.ways().items():
                    backs.setdefault(service, []).append(back())
                    print(f"round {number + 1}: {service} back after {backs[service][-1]:.2f} s", flush=True)
                    rig.whole_again(services)
            left = rig.left_over()
            waited = {service: what for service, (what, _) in rig.ways().items()}
    return {
        "services": {
            service: {
                "waited_for": waited[service],
                "median_s": round(statistics.median(found), 2),
                "longest_s": round(max(found), 2),
                "back_s": [round(one, 3) for one in found],
                "imports_alone_s": _imports(service),
            }
            for service, found in backs.items()
        },
        "rings_left_over": left,
    }


def _imports(service: str) -> float | None:
    """None: it is none of ours."""
    if service == "nats-server":
        return None
    return round(imports_seconds([f"services.{service.replace('-', '_')}"]), 2)


def main() -> int:
    quick = "--quick" in sys.argv
    load_before = os.getloadavg()[0]
    found = measure(_QUICK_KILLS if quick else _KILLS)
    print(f"{'killed':18}{'waited for':26}{'median s':>9}{'longest':>9}{'imports':>9}")
    for service, one in found["services"].items():
        imports = "" if one["imports_alone_s"] is None else f"{one['imports_alone_s']:.2f}"
        print(f"{service:18}{one['waited_for']:26}{one['median_s']:9.2f}{one['longest_s']:9.2f}{imports:>9}")
    print(f"rings left over: {found['rings_left_over']}; goal {GOAL_SECONDS:g} s")
    if not quick:
        what = "seconds from kill -9 of a service until what it does is there again"
        keep(RESULTS, {"what": what, "goal_s": GOAL_SECONDS, "machine": machine(load_before), **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
