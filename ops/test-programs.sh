#!/bin/sh
# The programs that tests run against: Debian packages, installed where we may and named where we may not, and hls.js.
set -eu
missing=""
command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing="$missing ffmpeg"
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing="$missing nginx-light"
[ -e /usr/lib/nginx/modules/ngx_rtmp_module.so ] || missing="$missing libnginx-mod-rtmp"
command -v chromium >/dev/null || missing="$missing chromium"
[ -z "${FRAMEMESH_TEST_LONG:-}" ] || command -v firefox-esr >/dev/null || missing="$missing firefox-esr"
[ -e /usr/include/linux/videodev2.h ] && command -v gcc >/dev/null || missing="$missing gcc libc6-dev linux-libc-dev"
command -v arv-fake-gv-camera-0.8 >/dev/null || missing="$missing aravis-tools"
command -v Xvfb >/dev/null && command -v xclock >/dev/null || missing="$missing xvfb x11-apps"
command -v ip >/dev/null || missing="$missing iproute2"
command -v turnserver >/dev/null || missing="$missing coturn"
command -v gst-launch-1.0 >/dev/null || missing="$missing gstreamer1.0-tools"
gst="import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer as _
Gst.init(None); assert all(map(Gst.ElementFactory.find, ('rtph264pay', 'h265parse', 'appsrc')))"
/usr/bin/python3 -c "$gst" 2>/dev/null || missing="$missing python3-gi gir1.2-gst-rtsp-server-1.0 \
    gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"

# A player of HLS for the browser's page (Apache-2.0). Never in the product: tests find it in the cache.
version=1.7.4
player="${XDG_CACHE_HOME:-$HOME/.cache}/framemesh-tests/hls.js-$version.min.js"
if [ ! -e "$player" ] && command -v npm >/dev/null; then
    folder=$(mktemp -d)
    if (cd "$folder" && npm pack --silent "hls.js@$version" >/dev/null && tar xzf hls.js-*.tgz package/dist/hls.min.js); then
        mkdir -p "$(dirname "$player")"
        mv "$folder/package/dist/hls.min.js" "$player"
    else
        echo "hls.js $version cannot be loaded: tests of playing HLS in a page will be skipped" >&2
    fi
    rm -rf "$folder"
fi

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing …"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "some tests will be skipped; install these Debian packages to run them all:$missing" >&2
fi
