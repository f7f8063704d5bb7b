"""Runs a program as a hardened unit would: a user without rights, a file system that it cannot write, no capabilities.

systemd itself is not needed: namespaces, setpriv(1) and one call of prctl(2) do what the most telling lines of a unit
ask for (User, ProtectSystem=strict, ProtectHome, PrivateTmp, NoNewPrivileges, CapabilityBoundingSet and
MemoryDenyWriteExecute). System calls are not filtered.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

USER = 65_534  # nobody, everywhere
STATE = Path("/mnt/state")
"""Where the program sees the one folder that it may write."""
_REPOSITORY = Path(__file__).parents[2]
# Python and its packages may lie in what is hidden; they are put back where they were, with nothing beside them.
_SCRIPT = r"""
set -eu
state=$1 kept=$2
shift 2
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/state /mnt/kept
mount --bind "$state" /mnt/state
number=0
for path in $kept; do
    mkdir "/mnt/kept/$number"
    mount --bind "$path" "/mnt/kept/$number"
    number=$((number + 1))
done
mount -o remount,bind,ro /
mount -t tmpfs -o mode=755 tmpfs /root
mount -t tmpfs -o mode=1777 tmpfs /tmp
number=0
for path in $kept; do
    mkdir -p "$path"
    mount --bind "/mnt/kept/$number" "$path"
    mount -o remount,bind,ro "$path"
    number=$((number + 1))
done
cd /
exec "$@"
"""
_PR_SET_MDWE = 65  # linux/prctl.h; kernels before 6.3 refuse it, and the program starts without
_WITHOUT_CODE = (
    f"import ctypes, os, sys; ctypes.CDLL(None).prctl({_PR_SET_MDWE}, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def why_not() -> str:
    """Why nothing can be run so here; empty: it can."""
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"mounts of one's own are not allowed here: {done.stderr.strip()}"


def restricted(
    command: Sequence[str], environment: Mapping[str, str], state: Path, *, writes_code: bool = False
) -> "subprocess.Popen[bytes]":
    """Start it; it may write what it owns in /dev/shm, and below `state`, which is `STATE` to it."""
    os.chown(state, USER, USER)
    kept = dict.fromkeys(map(str, (Path(sys.base_prefix).resolve(), Path(sys.prefix), _REPOSITORY)))
    no_rights = ("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
    rights = ["setpriv", f"--reuid={USER}", f"--regid={USER}", *no_rights]
    wrapper = [] if writes_code else [sys.executable, "-I", "-c", _WITHOUT_CODE]
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", str(state), " ".join(kept), *rights, *wrapper, *command],
        env=dict(environment),
    )
