"""Files that many tests only read: made by the first of all processes that asks for one, and kept in the cache."""

import fcntl
import functools
import hashlib
import os
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "framemesh-tests"
_SECONDS = 120  # of a machine that does other things too


@functools.cache
def ffmpeg_once(name: str, *arguments: str) -> Path:
    """What ffmpeg makes with these arguments and an output of this name; never to be written to."""
    key = hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:12]
    target = CACHE / f"{key}-{name}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            making = CACHE / f"making-{name}"
            command = ["ffmpeg", "-v", "error", "-y", *arguments, str(making)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=_SECONDS)
            making.rename(target)
    return target
