"""Firefox without a window, driven by WebDriver BiDi: the one browser of the tests that is no Chromium."""

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.pace import slowness
from tests.support.peers import free_port

FIREFOX = "firefox-esr"
_ANSWER_SECONDS = 60.0
_START_SECONDS = 30.0
# A camera that needs no permission, pictures that move without a click, nothing fetched from the network.
_PREFERENCES = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.gmp-manager.updateEnabled": False,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
}


class FirefoxPage:
    """Its one tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._asked, self._tab = socket, 0, ""

    async def open(self, url: str) -> None:
        if not self._tab:
            await self._ask("session.new", capabilities={})
            tree = await self._ask("browsingContext.getTree")
            self._tab = tree["contexts"][0]["context"]
        await self._ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited, as JSON carries it.

        Raises:
            RuntimeError: the page threw.
        """
        target = {"context": self._tab}
        text = f"(async () => JSON.stringify(await ({expression})))()"
        answer = await self._ask("script.evaluate", expression=text, target=target, awaitPromise=True)
        if answer["type"] != "success":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"].get("value", "null"))

    async def _ask(self, method: str, **params: Any) -> Any:
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=_ANSWER_SECONDS)
            if message.get("id") != self._asked:
                continue  # an event
            if message["type"] == "error":
                raise RuntimeError(f"{method}: {message['message']}")
            return message["result"]


@contextlib.asynccontextmanager
async def firefox_page() -> AsyncIterator[FirefoxPage]:
    """A fresh browser with one empty tab."""
    profile, port = Path(tempfile.mkdtemp(prefix="firefox-")), free_port()
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in _PREFERENCES.items())
    (profile / "user.js").write_text("".join(lines))
    command = [FIREFOX, "--headless", "--no-remote", "--profile", str(profile), f"--remote-debugging-port={port}"]
    pipe = asyncio.subprocess.PIPE
    browser = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    try:
        async with aiohttp.ClientSession() as http:
            async with asyncio.timeout(_START_SECONDS * slowness()):
                await _listening(browser)
            async with http.ws_connect(f"ws://127.0.0.1:{port}/session", max_msg_size=0) as socket:
                yield FirefoxPage(socket)
    finally:
        browser.kill()
        await browser.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _listening(browser: asyncio.subprocess.Process) -> None:
    assert browser.stdout is not None
    while b"WebDriver BiDi listening" not in (line := await browser.stdout.readline()):
        assert line, "Firefox ended"
