"""A camera as others build it: GStreamer's RTSP server over pre-encoded video. Run by /usr/bin/python3, which has gi.

`gst_rtsp_server.py PORT NAME=FILE[,codec=h265][,transport=udp|tcp][,user=U,password=P][,fps=N][,sound] …`: each NAME is
a mount that plays the Annex B FILE again and again, sends it to all of its clients, and costs nothing while it has
none. Prints `ready` when it listens. Ends when its standard input does.
"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402, F401

_NS = 1_000_000_000
_MTU_BYTES = 1400


def access_units(path, codec):
    """What the parser makes of the file: buffers of one picture each, with their caps."""
    pipeline = Gst.parse_launch(
        f"filesrc location={path} ! {codec}parse config-interval=-1 ! "
        f"video/x-{codec},stream-format=byte-stream,alignment=au ! appsink name=units sync=false max-buffers=0"
    )
    units, sink = [], pipeline.get_by_name("units")
    pipeline.set_state(Gst.State.PLAYING)
    caps = None
    while (sample := sink.pull_sample()) is not None:
        caps = sample.get_caps()
        units.append(sample.get_buffer())
    pipeline.set_state(Gst.State.NULL)
    return units, caps


class Mount(GstRtspServer.RTSPMediaFactory):
    """One camera; its pictures are pushed from a thread at their own speed."""

    def __init__(self, file, codec="h264", fps=25, sound=False):
        super().__init__()
        self._units, self._caps = access_units(file, codec)
        self._duration_ns = _NS // fps
        launch = f"appsrc name=source is-live=true format=time ! rtp{codec}pay name=pay0 pt=96 mtu={_MTU_BYTES}"
        if sound:
            launch += " audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1"
        self.set_launch(f"( {launch} )")
        self.set_shared(True)

    def do_configure(self, media):
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        source = media.get_element().get_by_name("source")
        source.set_caps(self._caps)
        stop = threading.Event()
        media.connect("unprepared", lambda *_: stop.set())
        threading.Thread(target=self._push, args=(source, stop), daemon=True).start()

    def _push(self, source, stop):
        number, clock = 0, None
        while not stop.is_set():
            if clock is None:
                clock = source.get_clock()
                if clock is None:
                    stop.wait(0.01)
                    continue
            unit = self._units[number % len(self._units)].copy()
            due_ns = number * self._duration_ns
            late_ns = clock.get_time() - source.get_base_time() - due_ns
            if late_ns < 0:
                stop.wait(-late_ns / _NS)
            unit.pts = unit.dts = due_ns
            unit.duration = self._duration_ns
            if source.emit("push-buffer", unit) != Gst.FlowReturn.OK:
                return
            number += 1


def add(server, text):
    name, _, rest = text.partition("=")
    file, *options = rest.split(",")
    given = dict(option.partition("=")[::2] for option in options)
    mount = Mount(file, given.get("codec", "h264"), int(given.get("fps", 25)), "sound" in given)
    if "transport" in given:
        lower = {"udp": GstRtsp.RTSPLowerTrans.UDP, "tcp": GstRtsp.RTSPLowerTrans.TCP}
        mount.set_protocols(lower[given["transport"]])
    if "user" in given:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        mount.set_permissions(permissions)
        auth = server.get_auth() or GstRtspServer.RTSPAuth()
        auth.set_supported_methods(
            GstRtsp.RTSPAuthMethod.DIGEST if given.get("auth") == "digest" else GstRtsp.RTSPAuthMethod.BASIC
        )
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        if given.get("auth") == "digest":
            auth.add_digest(given["user"], given["password"], token)
        else:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(given["user"], given["password"]), token)
        server.set_auth(auth)
    server.get_mount_points().add_factory(f"/{name}", mount)


def main():
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    for text in sys.argv[2:]:
        add(server, text)
    loop = GLib.MainLoop()
    if not server.attach(None):
        sys.exit(f"port {sys.argv[1]} cannot be listened at")
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
