"""A real Prometheus that scrapes a mesh of the launcher, with our configuration and rules, sooner than in earnest."""

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

from ops import scrape
from tests.support.pace import Patience
from tests.support.peers import free_port, wait_until

PROGRAM = shutil.which("prometheus")
OURS = Path(__file__).parents[2] / "ops" / "prometheus"
_SCRAPE = "1s"
_READY_SECONDS = 20.0
_REPLY_SECONDS = 10.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.2


class QueryFailed(Exception):
    """Prometheus' own words."""


class Prometheus:
    """Use as a context manager."""

    def __init__(self, folder: Path, metrics: Mapping[str, str], node: str) -> None:
        """`metrics`: the address of each service's `/metrics`. Alerts fire at once, without their `for`."""
        self.folder, self.port = folder, free_port()
        config = yaml.safe_load(scrape.document())
        config["global"] = {"scrape_interval": _SCRAPE, "scrape_timeout": _SCRAPE, "evaluation_interval": _SCRAPE}
        for job in config["scrape_configs"]:
            if job["job_name"] in metrics:
                address = urlsplit(metrics[job["job_name"]])
                # As in earnest, but for the port: each job has its own, and finds it among all.
                job["relabel_configs"] = [
                    {key: _with_port(value, address.port) for key, value in rule.items()}
                    for rule in job["relabel_configs"]
                ]
            else:
                job["static_configs"] = [{"targets": [f"127.0.0.1:{self.port}"]}]
        hosts = [{"targets": [urlsplit(url).netloc for url in metrics.values()], "labels": {"node": node}}]
        alerts = yaml.safe_load((OURS / "alerts.yml").read_text())
        for group in alerts["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        (folder / "hosts").mkdir()
        (folder / "hosts" / "here.yml").write_text(yaml.safe_dump(hosts))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        (folder / "alerts.yml").write_text(yaml.safe_dump(alerts))
        # The stages' minute would be most of a test; what is asked is the same.
        (folder / "rules.yml").write_text((OURS / "rules.yml").read_text().replace("[1m]", "[10s]"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        assert PROGRAM is not None
        with (self.folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    PROGRAM,
                    f"--config.file={self.folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._ready, _READY_SECONDS, "Prometheus")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            self._get("/-/ready")
            return True
        return False

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that it gives now.

        Raises:
            QueryFailed: it is no query.
        """
        try:
            answer = json.loads(self._get("/api/v1/query", query=expr))
        except urllib.error.HTTPError as error:
            raise QueryFailed(error.read().decode()) from None
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def rules(self) -> Iterator[dict[str, Any]]:
        """Each with its `health` and `lastError`."""
        for group in json.loads(self._get("/api/v1/rules"))["data"]["groups"]:
            yield from group["rules"]

    def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._get("/api/v1/targets"))["data"]["activeTargets"]
        return found

    def without_numbers(self, exprs: Mapping[str, str], seconds: float) -> dict[str, str]:
        """Those that have given no number by the end of the time."""
        waiting = dict(exprs)
        patience = Patience(seconds)
        while True:
            waiting = {name: expr for name, expr in waiting.items() if not self._numbers(expr)}
            if not waiting or patience.is_over():
                return waiting
            time.sleep(_POLL_SECONDS)  # it tells nobody of what it has scraped

    def wait_for(self, expr: str, seconds: float) -> None:
        """Raises: AssertionError: it gives no number within the time."""
        assert not self.without_numbers({"": expr}, seconds), f"nothing within {seconds:g} s: {expr}"

    def _numbers(self, expr: str) -> list[str]:
        return [series["value"][1] for series in self.query(expr) if series["value"][1] != "NaN"]

    def _get(self, path: str, **query: str) -> str:
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=_REPLY_SECONDS) as reply:
            text: str = reply.read().decode()
        return text


def _with_port(value: Any, port: int | None) -> Any:
    return re.sub(r":\d+", f":{port}", value) if isinstance(value, str) else value
