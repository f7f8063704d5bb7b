#!/bin/bash
# Docker, compose and the images that compose.yaml names, on a Debian 12 machine, as root; then the images of framemesh,
# tagged `test`. Real images are pulled where they can be. Where they cannot, small stand-ins are made of Debian's and
# PyPI's packages under the same names: Python and nats-server and Prometheus do what the real ones do, in other
# versions; Grafana only answers /api/health. Never for production.
#
# What it keeps lies in ${XDG_CACHE_HOME:-~/.cache}/framemesh-tests/images. Safe to run again, and at the same time.
set -euo pipefail
umask 022
trap 'echo "stand_in_images: failed in line $LINENO" >&2' ERR
cd "$(dirname "$0")/../.."
state=${XDG_CACHE_HOME:-$HOME/.cache}/framemesh-tests/images
label=framemesh.stand-in
debian=framemesh-stand-in/debian python=python:3.11-slim-bookworm nats=nats:2-alpine
prometheus=prom/prometheus:latest grafana=grafana/grafana:latest
targets=(capture hw-encode publisher webrtc-gateway frame-extractor cloud-mix-proxy io-signal cli)
mkdir -p "$state"
die() { echo "stand_in_images: $*" >&2; exit 1; }
quietly() { # LOG COMMAND...: its last lines where it fails
    local log=$state/$1.log; shift
    "$@" >"$log" 2>&1 9>&- || { tail -n 20 "$log" >&2; die "failed: ${*:0:4} … ($log)"; }
}

[ "$(id -u)" = 0 ] || docker info >/dev/null 2>&1 || die "docker needs root here"
exec 9>"$state/lock"
flock -w 900 9 || die "another run holds $state/lock"

# -- docker, and its plugins
export DEBIAN_FRONTEND=noninteractive
apt_install() { quietly apt-update apt-get -o DPkg::Lock::Timeout=300 update
    quietly apt-install apt-get -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"; }
command -v dockerd >/dev/null && command -v docker >/dev/null || apt_install docker.io ca-certificates
if ! docker info >/dev/null 2>&1; then
    # What we leave to others here is our own work; containers get what dockerd has.
    nice -n "-$(nice)" setsid dockerd >>"$state/dockerd.log" 2>&1 9>&- </dev/null &
    for _ in $(seq 120); do
        docker info >/dev/null 2>&1 && break
        kill -0 $! 2>/dev/null || { tail -n 10 "$state/dockerd.log" >&2; die "dockerd ended"; }
        sleep 0.5
    done
    docker info >/dev/null 2>&1 || die "dockerd does not answer within 60 s ($state/dockerd.log)"
fi
[ -n "${DOCKER_CONFIG:-}" ] || [ ! -d "$state/docker-config" ] || export DOCKER_CONFIG=$state/docker-config
if ! docker compose version >/dev/null 2>&1 || ! docker buildx version >/dev/null 2>&1; then
    # Debian 12 has neither as a plugin; those of its successor run here, unpacked and not installed.
    export DOCKER_CONFIG=$state/docker-config
    mkdir -p "$DOCKER_CONFIG/cli-plugins" "$state/apt/lists/partial" "$state/debs"
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | sed 's/bookworm/trixie/g' \
        >"$state/apt/sources.list" || true
    for file in /etc/apt/sources.list.d/*.sources; do
        [ ! -f "$file" ] || awk '/^URIs:/ {uri = $2} /^Suites:/ && /bookworm/ && !/security/ {
            print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " uri " trixie main"}' "$file"
    done >>"$state/apt/sources.list"
    own=(-o "Dir::Etc::sourcelist=$state/apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$state/apt/lists"
        -o APT::Sandbox::User=root)
    quietly plugins-update apt-get "${own[@]}" update
    (cd "$state/debs" && quietly plugins apt-get "${own[@]}" download docker-compose docker-buildx)
    for plugin in docker-compose docker-buildx; do
        dpkg-deb --fsys-tarfile "$state"/debs/${plugin}_*.deb | tar -xO --wildcards "*/cli-plugins/$plugin" \
            >"$DOCKER_CONFIG/cli-plugins/$plugin"
        chmod 755 "$DOCKER_CONFIG/cli-plugins/$plugin"
    done
    docker compose version >/dev/null || die "compose does not run here"
fi

# -- the images of others
here() { docker image inspect "$1" >/dev/null 2>&1; }
missing=()
for image in "$python" "$nats" "$prometheus" "$grafana"; do
    here "$image" || { [ ! -e "$state/no-pull" ] && timeout 120 docker pull --quiet "$image" >/dev/null 2>&1; } ||
        { missing+=("$image"); touch "$state/no-pull"; }
done
lacks() { [[ " ${missing[*]-} " == *" $1 "* ]]; }
network=$(cat "$state/network" 2>/dev/null || echo default)
stand_in() { # IMAGE FOLDER
    # The old builder: it looks for no image elsewhere.
    DOCKER_BUILDKIT=0 quietly "build-${1//[:\/]/-}" docker build --network "$network" --label $label=1 -t "$1" "$2"
}
if [ ${#missing[@]} -gt 0 ] && ! here $debian; then
    command -v debootstrap >/dev/null || apt_install debootstrap
    context=$state/debian
    rm -rf "$context"
    mkdir -p "$context"/root/{etc/apt/{apt.conf.d,sources.list.d},etc/ssl/certs,usr/local/share/ca-certificates}
    # How this machine reaches packages, for the containers; nothing of it is written in here.
    mirror=$(sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb (\[[^]]*\] )?([^ ]+) bookworm .*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1 || true)
    : >"$context/root/etc/apt/sources.list"
    grep -s bookworm /etc/apt/sources.list >"$context/root/etc/apt/sources.list" || true
    for file in /etc/apt/sources.list.d/*; do
        ! grep -qs bookworm "$file" || cp "$file" "$context/root/etc/apt/sources.list.d/"
    done
    for file in /etc/apt/apt.conf.d/*; do
        ! grep -qE '^[^/#]*Acquire' "$file" || grep -q Invoke "$file" || cp "$file" "$context/root/etc/apt/apt.conf.d/"
    done
    cp /usr/local/share/ca-certificates/*.crt "$context/root/usr/local/share/ca-certificates/" 2>/dev/null || true
    cp /etc/ssl/certs/ca-certificates.crt "$context/root/etc/ssl/certs/"
    python3 -I - >"$context/root/etc/pip.conf" <<'PIP'
import configparser, os

kept = {}
for path in ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", os.environ.get("PIP_CONFIG_FILE", "")):
    found = configparser.RawConfigParser()
    found.read(os.path.expanduser(path))
    for section in ("global", "install"):
        if found.has_section(section):
            kept.update((key.replace("_", "-"), value) for key, value in found.items(section))
kept.update((name[4:].lower().replace("_", "-"), value) for name, value in os.environ.items() if name[:4] == "PIP_")
print("[global]")
for key in ("index-url", "extra-index-url", "trusted-host", "proxy"):
    if key in kept:
        print(f"{key} = {kept[key]}")
PIP
    quietly debootstrap debootstrap --variant=minbase --include=ca-certificates bookworm "$context/tree" ${mirror:+"$mirror"}
    tar -C "$context/tree" --one-file-system --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' \
        --exclude='./dev/*' --exclude=./etc/hostname --exclude=./etc/resolv.conf -c . |
        docker import -c "LABEL $label=1" - $debian-raw >/dev/null
    printf 'FROM %s-raw\nCOPY root/ /\n' $debian >"$context/Dockerfile"
    echo 'root' >"$context/.dockerignore" && echo '!root' >>"$context/.dockerignore" && echo tree >>"$context/.dockerignore"
    stand_in $debian "$context"
    rm -rf "$context/tree"
    for network in default host none; do
        [ $network != none ] || die "a container reaches apt neither over the bridge nor over the host's network"
        timeout 120 docker run --rm --network $network $debian apt-get -o APT::Update::Error-Mode=any update \
            >"$state/network.log" 2>&1 && break
    done
    echo $network >"$state/network"
fi
apt='RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends'
if lacks $python || lacks $grafana; then
    mkdir -p "$state/python"
    cat >"$state/python/Dockerfile" <<PYTHON
FROM $debian
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
$apt python3 python3-pip && ln -s python3 /usr/bin/python && rm -rf /var/lib/apt/lists/*
CMD ["python3"]
PYTHON
    stand_in $python "$state/python"
fi
if lacks $nats; then
    mkdir -p "$state/nats"
    cp .venv/bin/nats-server "$state/nats/"
    cat >"$state/nats/Dockerfile" <<NATS
FROM $debian
$apt busybox && ln -s /bin/busybox /usr/bin/wget && rm -rf /var/lib/apt/lists/*
COPY nats-server /usr/local/bin/
ENTRYPOINT ["nats-server"]
NATS
    stand_in $nats "$state/nats"
fi
if lacks $prometheus; then
    mkdir -p "$state/prometheus"
    cat >"$state/prometheus/Dockerfile" <<PROMETHEUS
FROM $debian
$apt busybox && ln -s /bin/busybox /usr/bin/wget && apt-get -o APT::Sandbox::User=root download prometheus \
 && dpkg-deb -x prometheus_*.deb /unpacked && cp /unpacked/usr/bin/prom* /bin/ && rm -rf /unpacked prometheus_*.deb \
 && mkdir -p /etc/prometheus /prometheus && chown nobody:nogroup /prometheus
USER nobody
ENTRYPOINT ["/bin/prometheus"]
PROMETHEUS
    stand_in $prometheus "$state/prometheus"
fi
if lacks $grafana; then
    mkdir -p "$state/grafana"
    cat >"$state/grafana/stand_in.py" <<'GRAFANA'
"""Not Grafana: answers /api/health, so that who waits for it goes on."""
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 501)
        self.end_headers()
        self.wfile.write(b'{"database": "ok", "version": "stand-in"}')

ThreadingHTTPServer(("", int(os.environ.get("GF_SERVER_HTTP_PORT", "3000"))), Handler).serve_forever()
GRAFANA
    cat >"$state/grafana/Dockerfile" <<GRAFANA
FROM $python
$apt busybox && ln -s /bin/busybox /usr/bin/wget && rm -rf /var/lib/apt/lists/* && mkdir -p /var/lib/grafana \
 && chown 472:0 /var/lib/grafana
COPY stand_in.py /
USER 472
ENTRYPOINT ["python", "/stand_in.py"]
GRAFANA
    stand_in $grafana "$state/grafana"
fi

# -- ours
for target in "${targets[@]}"; do
    # Without SRT, whose program takes longer to install than all the rest.
    quietly "ours-$target" docker buildx build --network "$network" -f ops/Dockerfile --target "$target" --build-arg SRT=0 \
        -t "framemesh/$target:test" .
done
