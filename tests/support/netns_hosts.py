"""Hosts of a small network on this machine: namespaces that are joined by a switch, and can be cut off.

The switch has a namespace of its own, where nobody else's rules for bridged packets hold. This process is one more
host, so that tests reach all of them.
"""

import contextlib
import os
import shutil
import subprocess
from types import TracebackType
from typing import Self

import pytest

_NETWORK = "10.213.77"  # /24, of nobody here; private
_OPERATOR = 254


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Host:
    """One namespace; `prefix` before a command runs it there."""

    def __init__(self, tag: str, number: int) -> None:
        self.name = f"h{number}"
        self.namespace = f"{tag}h{number}"
        self.address = f"{_NETWORK}.{number}"
        self.port = f"p{number}"
        """Of the switch."""
        self._switch = f"{tag}sw"

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace)

    def cut_off(self) -> None:
        """As by a pulled cable: nothing is refused, nothing comes."""
        _ip("-n", self._switch, "link", "set", self.port, "down")

    def join(self) -> None:
        _ip("-n", self._switch, "link", "set", self.port, "up")


class Hosts:
    """Use as a context manager; a test is skipped where namespaces are not permitted."""

    def __init__(self, count: int) -> None:
        self._tag = f"fm{os.getpid() % 100_000}"
        self._own = f"{self._tag}op"  # this process's end of its cable
        self.hosts = [Host(self._tag, number + 1) for number in range(count)]

    def __getitem__(self, number: int) -> Host:
        return self.hosts[number]

    def __enter__(self) -> Self:
        if os.geteuid() or not shutil.which("ip"):
            pytest.skip("needs root and ip (Debian package iproute2)")
        switch = f"{self._tag}sw"
        try:
            _ip("netns", "add", switch)
            _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        except subprocess.CalledProcessError as error:
            self._remove()
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        try:
            _ip("-n", switch, "link", "set", "br0", "up")
            for host in self.hosts:
                _ip("netns", "add", host.namespace)
                _ip(
                    "-n",
                    switch,
                    "link",
                    "add",
                    host.port,
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "eth0",
                    "netns",
                    host.namespace,
                )
                _ip("-n", switch, "link", "set", host.port, "master", "br0", "up")
                _ip("-n", host.namespace, "link", "set", "lo", "up")
                _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
                _ip("-n", host.namespace, "link", "set", "eth0", "up")
            _ip("link", "add", self._own, "type", "veth", "peer", "name", "p0", "netns", switch)
            _ip("-n", switch, "link", "set", "p0", "master", "br0", "up")
            _ip("addr", "add", f"{_NETWORK}.{_OPERATOR}/24", "dev", self._own)
            _ip("link", "set", self._own, "up")
        except BaseException:
            self._remove()
            raise
        return self

    def _remove(self) -> None:
        for namespace in (*(host.namespace for host in self.hosts), f"{self._tag}sw"):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", namespace)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._own)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()
