"""One picture of all live streams, which follows them as they come and go.

    python examples/camera_wall.py --size 1920x1080

The wall is a mix of the mesh, so a stream as any other: watch it in the console, record it, push it elsewhere. A stream
that is lost keeps its place, with a slate, until it is removed. With Ctrl-C the wall goes; the streams stay.
"""

import argparse
import contextlib
import signal
import sys
from typing import Any

from shared.clients.mesh import Mesh, MeshError, NoEvents, NotFound

MAX_TILES = 16  # inputs of one mix
LOOK_AGAIN_SECONDS = 10.0  # should an event be lost, as while the bus is away
LOST = ("stalled", "frozen", "reconnecting", "connecting")
SAYING = ("state", "removed")


class Wall:
    """The mix, and which streams it shows."""

    def __init__(self, mesh: Mesh, spec: dict[str, Any]) -> None:
        self._mesh, self._spec = mesh, spec
        self._name: str = spec["mix"]
        self._shown: list[str] = []

    def follow(self) -> None:
        """Make the mix what the streams of now want."""
        wanted = self._wanted()
        if wanted == self._shown:
            return
        inputs = [{"input": stream, "source": f"mesh://{stream}", "on_loss": "slate"} for stream in wanted]
        if not wanted:
            self.close()
        else:
            verb = "update" if self._shown else "create"
            self._mesh.call(f"cloud-mix-proxy.{verb}", **self._spec, inputs=inputs)
        self._shown = wanted
        print(f"{self._name}: {', '.join(wanted) or 'no stream is live; waiting'}", flush=True)

    def _wanted(self) -> list[str]:
        """Streams of this node by name, but for mixes: a wall of walls would show itself."""
        mixes = {entry["spec"]["mix"] for entry in self._mesh.call("cloud-mix-proxy.list")["mixes"]}
        found = []
        for entry in self._mesh.streams():
            stream, state = entry.spec.stream, entry.actual.state if entry.actual else ""
            stays = stream in self._shown and state in LOST
            here = entry.spec.node == self._mesh.settings.node
            if here and (state == "live" or stays) and stream not in mixes | {self._name}:
                found.append(stream)
        if len(found) > MAX_TILES:
            print(f"{self._name}: no room for {', '.join(found[MAX_TILES:])}", file=sys.stderr, flush=True)
        return found[:MAX_TILES]

    def close(self) -> None:
        if self._shown:
            self._shown = []
            with contextlib.suppress(NotFound):  # somebody was quicker
                self._mesh.call("cloud-mix-proxy.delete", mix=self._name)


def run(mesh: Mesh, wall: Wall) -> None:
    # Events first, streams then: what changes between the two is seen.
    with mesh.events(service="capture", timeout_seconds=LOOK_AGAIN_SECONDS) as events:
        try:
            while True:
                wall.follow()
                with contextlib.suppress(NoEvents):  # then it looks again
                    while next(events).event not in SAYING:
                        pass
        finally:
            wall.close()


def main() -> int:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--name", default="wall", help="of the mix and its stream (default: %(default)s)")
    parser.add_argument("--size", default="1920x1080", metavar="WxH", help="default: %(default)s")
    parser.add_argument("--fps", type=float, default=30.0, help="default: %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # systemd and docker end it as Ctrl-C does
    spec = {"mix": options.name, "layout": "grid", "size": options.size, "fps": options.fps, "gap": 4, "sound": False}
    try:
        with Mesh.connect(name="camera-wall") as mesh:
            run(mesh, Wall(mesh, spec))
    except MeshError as error:
        print(f"error {error.code}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
