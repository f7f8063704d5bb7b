#!/bin/sh
# The programs that tests run against, all of them Debian packages: installed where we may, named where we may not.
set -eu
missing=""
command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing="$missing ffmpeg"
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing="$missing nginx-light"
[ -e /usr/lib/nginx/modules/ngx_rtmp_module.so ] || missing="$missing libnginx-mod-rtmp"
command -v chromium >/dev/null || missing="$missing chromium"
[ -e /usr/include/linux/videodev2.h ] && command -v gcc >/dev/null || missing="$missing gcc libc6-dev linux-libc-dev"
command -v arv-fake-gv-camera-0.8 >/dev/null || missing="$missing aravis-tools"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing …"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "some tests will be skipped; install these Debian packages to run them all:$missing" >&2
fi
