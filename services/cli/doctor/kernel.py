"""What the kernel must know for leases and fast sending, tried where it will be used."""

import ctypes
import errno
import fcntl
import os
import platform
import socket
from collections.abc import Iterator
from pathlib import Path

from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import Machine, existing

_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_NEVER = "2"
_UDP_SEGMENT = 103  # linux/udp.h
_F_OFD_SETLK = 37  # asm-generic/fcntl.h; Python has it from 3.13 on
_TRIED_BYTES = 4096
_UPDATE = "use Linux 4.18 or newer, and for FRAMEMESH_SHM_DIR a tmpfs"


class _Flock(ctypes.Structure):
    _fields_ = (
        ("l_type", ctypes.c_short),
        ("l_whence", ctypes.c_short),
        ("l_start", ctypes.c_longlong),
        ("l_len", ctypes.c_longlong),
        ("l_pid", ctypes.c_int),
    )


def locks(machine: Machine) -> Iterator[Finding]:
    """Leases are OFD locks on files that are made without a name: both tried in the folder of the rings."""
    folder = existing(machine.settings.shm_dir)
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as error:
        level: Level = "wrong" if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL) else "warning"
        text = f"no file without a name can be made in {folder}: {error.strerror}"
        yield Finding("kernel", "locks", level, text, _UPDATE)
        return
    try:
        os.posix_fallocate(fd, 0, _TRIED_BYTES)
        fcntl.fcntl(fd, getattr(fcntl, "F_OFD_SETLK", _F_OFD_SETLK), bytes(_Flock(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)))
        yield Finding("kernel", "locks", "ok", "leases work: OFD locks, reserved memory, files without names")
    except OSError as error:
        text = f"locks of open files do not work in {folder}: {error.strerror}"
        yield Finding("kernel", "locks", "wrong", text, _UPDATE)
    finally:
        os.close(fd)


def features(_machine: Machine) -> Iterator[Finding]:
    yield Finding("kernel", "version", "ok", f"{platform.system()} {platform.release()} {platform.machine()}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, 0)
            yield Finding("kernel", "UDP segmentation", "ok", "many packets for viewers go out with one call")
        except OSError:
            text = "the kernel cuts no pictures into datagrams (GSO): viewers cost more CPU"
            yield Finding("kernel", "UDP segmentation", "warning", text, "use Linux 4.18 or newer")
    try:
        os.close(os.memfd_create("framemesh-doctor", os.MFD_CLOEXEC))
        yield Finding("kernel", "memfd", "ok", "encoders in processes of their own get pictures without a copy")
    except OSError as error:
        yield Finding("kernel", "memfd", "wrong", f"memfd_create: {error.strerror}", "allow memfd_create (seccomp)")


def overcommit(_machine: Machine) -> Iterator[Finding]:
    try:
        mode = _OVERCOMMIT.read_text().strip()
    except OSError as error:
        yield Finding("kernel", "overcommit", "ok", f"not told here ({error.strerror})")
        return
    if mode == _NEVER:
        text = "memory is never promised twice (vm.overcommit_memory=2): processes may fail to start"
        yield Finding("kernel", "overcommit", "warning", text, "sudo sysctl vm.overcommit_memory=0")
    else:
        yield Finding("kernel", "overcommit", "ok", f"vm.overcommit_memory={mode}")
