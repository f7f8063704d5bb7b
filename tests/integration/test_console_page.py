"""The console page in headless Chromium, on the gateway's own door and engine, under a strict content policy."""

import asyncio
import os
import re
import signal
import socket
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
from playwright.async_api import Page, async_playwright, expect
from test_whep_chromium import CHROMIUM

from schemas.capture_commands import StreamStats
from schemas.commands import MeshStatus, OutputEntry, RenditionEntry, RenditionStats
from schemas.errors import ErrorInfo, NotFound
from schemas.events import Event
from schemas.extraction import ExtractedFrame, Job, JobList, JobReply, ListJobs
from schemas.mix_resources import Box, MixActual, MixEntry, MixInput, MixInputActual, MixLogo, MixSpec, MixText
from schemas.recordings import RecordedFile, RecordedFiles
from schemas.resources import OutputActual, OutputSpec, Presence, RenditionActual, RenditionSpec, StreamSpec
from schemas.sessions import SessionInfo, SessionList
from shared.media import timecode
from tests.support.console_server import ConsoleServer, EncodedStreams, MadeUpMesh, stream
from tests.support.pace import patience, slowness
from tests.support.peers import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(60),
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium"),
]
# As a user's browser is set: autoplay is left to its policy, which lets muted pictures play.
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = '<img src=x onerror="window.pwned = 1"><script>window.pwned = 1</script>'
PLAYING = "framemesh.tiles.get('cam0')?.state === 'playing' && framemesh.tiles.get('cam0').framesPresented > 5"


@asynccontextmanager
async def browser_page(complaints: list[str]) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        try:
            yield page
        finally:
            await browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser found wrong: script errors, violations of the content policy, failed loads."""
    return []


@pytest.fixture
async def page(complaints: list[str]) -> AsyncIterator[Page]:
    async with browser_page(complaints) as opened:
        yield opened


async def until(page: Page, condition: str, seconds: float = 5.0) -> Any:
    """Milliseconds until the JavaScript expression held; fails with the tiles' reports at the deadline."""
    waited_ms, report = await page.evaluate(
        f"""async () => {{
          const began = performance.now();
          while (performance.now() < began + {seconds * 1e3}) {{
            if ({condition}) return [performance.now() - began, null];
            await new Promise((resolve) => setTimeout(resolve, 10));
          }}
          return [null, JSON.stringify([...framemesh.tiles])];
        }}"""
    )
    assert waited_ms is not None, f"not within {seconds} s: {condition}; {report}"
    return waited_ms


def presence(service: str, metrics_url: str) -> Presence:
    return Presence(
        service=service, node="edge1", instance="i", version="0.1.0", pid=1, started_ns=1, metrics_url=metrics_url
    )


def rendition(name: str, **actual: Any) -> RenditionEntry:
    return RenditionEntry(
        revision=1,
        spec=RenditionSpec(stream=name),
        actual=RenditionActual(stream=name, rendition="main", node="edge1", revision=1, **actual),
    )


def output(name: str, output_id: str, **actual: Any) -> OutputEntry:
    return OutputEntry(
        revision=1,
        spec=OutputSpec(stream=name, output=output_id, to="file://a.mp4"),
        actual=OutputActual(stream=name, output=output_id, rendition="main", node="edge1", revision=1, **actual),
    )


async def test_an_empty_mesh_teaches(page: Page, complaints: list[str]) -> None:
    async with ConsoleServer(MadeUpMesh(MeshStatus()), EncodedStreams()) as server:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.goto(server.url)
        await page.get_by_role("button", name="Copy").first.click()
        copied = await page.evaluate("() => navigator.clipboard.readText()")
        assert copied.startswith('framemesh call capture.start \'{"stream":"cam0","source":"rtsp://')
        await expect(page.locator(".service[data-up=false]")).to_have_count(7)
        server.mesh.show(MeshStatus(streams=(stream("cam0", state="connecting"),)))
        await expect(page.locator(".tile")).to_have_count(1)
        await expect(page.locator("#empty")).to_be_hidden()
    assert complaints == []


async def test_streams_with_states_and_errors(page: Page) -> None:
    refused = ErrorInfo(code=503, message="camera.local:554 refused the connection")
    status = MeshStatus(
        services=(presence("capture", "http://127.0.0.1:9101/metrics"),),
        streams=(stream("cam1", "reconnecting", refused), stream("cam0", "off")),
        renditions=(rendition("cam0", state="running", encoder="libx264", encoder_reason="h264_nvenc: no device"),),
        outputs=(
            output("cam0", "archive", state="running", to="file://a.mp4"),
            output("cam0", "live", state="failed", to="rtmp://a/…", error=ErrorInfo(code=404, message="no such key")),
        ),
    )
    async with ConsoleServer(MadeUpMesh(status), EncodedStreams()) as server:
        await page.goto(server.url)
        await expect(page.locator(".tile .name")).to_have_text(["cam0", "cam1"])
        await expect(page.locator(".tile .chip:not(.rec)")).to_have_text(["Off", "Reconnecting"])
        cam0, cam1 = page.locator("[data-stream=cam0]"), page.locator("[data-stream=cam1]")
        await expect(cam0).to_have_attribute("data-state", "off")
        await expect(cam0.locator(".encoding")).to_have_text("libx264 · software")
        await expect(cam0.locator(".encoding")).to_have_attribute("title", "h264_nvenc: no device")
        await expect(cam0.locator(".format")).to_have_text("640×360 · 30 fps · h264")
        await expect(cam0.locator(".source")).to_have_text("rtsp://camera.local/cam0")
        await expect(cam0.locator(".output")).to_have_text(["archiverunning", "livefailed"])
        await expect(cam0.locator(".error")).to_have_text("output live: no such key")
        await expect(cam1.locator(".error")).to_have_text("capture: camera.local:554 refused the connection")
        await expect(page.locator(".service[data-up=true] a")).to_have_attribute(
            "href", "http://127.0.0.1:9101/metrics"
        )
        await expect(page.locator("#version")).to_have_text("framemesh 0.1.0")


def hostile_mix(error: ErrorInfo) -> MixEntry:
    box = Box(x=0, y=0, width=100, height=100)
    spec = MixSpec(
        mix="wall",
        inputs=(MixInput(input="a", source=HOSTILE),),
        logos=(MixLogo(source=HOSTILE.replace("/", ""), box=box),),
        texts=(MixText(text=HOSTILE, x=0, y=0),),
    )
    seen = MixInputActual(input="a", stream=HOSTILE, state="lost", error=error, box=box)
    actual = MixActual(mix="wall", node="edge1", revision=1, state="running", error=error, inputs=(seen,))
    return MixEntry(revision=1, spec=spec, actual=actual)


async def test_hostile_texts_stay_texts(page: Page, complaints: list[str]) -> None:
    error = ErrorInfo(code=500, message=HOSTILE)
    status = MeshStatus(
        services=(presence("capture", "javascript:window.pwned=1"), presence("publisher", "")),
        streams=(stream("cam0", "failed", error, source=HOSTILE),),
        renditions=(rendition("cam0", state="running", encoder=HOSTILE, encoder_reason=HOSTILE),),
        outputs=(output("cam0", "live", state="failed", to=HOSTILE, error=error),),
        mixes=(hostile_mix(error),),
        error=error,
    )
    mesh = MadeUpMesh(status)
    recorded = {"stream": "cam0", "output": "archive", "rendition": "main", "format": HOSTILE, "codec": HOSTILE}
    sizes = {"start_ns": 1, "end_ns": 2, "size_bytes": 3, "pictures": 4}
    mesh.replies = {
        "cam0.stats": StreamStats(stream="cam0", node="edge1", state="live", status=2, dropped={HOSTILE: 1}),
        "recordings": RecordedFiles(node="edge1", files=(RecordedFile(file=HOSTILE, **recorded, **sizes),)),
        "cam0--main.stats": RenditionStats(stream="cam0", rendition="main", at_ns=1, running=True),
        "sessions": SessionList(
            sessions=(SessionInfo(session=HOSTILE, stream="cam0", rendition="main", state=HOSTILE, client=HOSTILE),)
        ),
    }
    async with ConsoleServer(mesh, EncodedStreams()) as server:
        await page.goto(server.url)
        await expect(page.locator(".source")).to_have_text(HOSTILE)
        event = Event(service="capture", id="cam0", event="state", node="edge1", at_ns=1, state=HOSTILE, error=error)
        server.mesh.emit(event)
        await page.locator("#events-toggle").click()
        await expect(page.locator(".event-error")).to_have_text(HOSTILE)
        await page.keyboard.press("Escape")
        await page.get_by_role("link", name="Open cam0").click()
        await expect(page.locator(".errors li span").first).to_have_text(HOSTILE)
        await expect(page.locator(".side .facts")).to_contain_text(f"1 {HOSTILE}")
        await expect(page.locator(".recording .row-facts")).to_contain_text(HOSTILE)
        await page.goto(f"{server.url}#/system")
        await expect(page.locator('section[aria-label="Sessions"] tbody')).to_contain_text(HOSTILE)
        await page.goto(f"{server.url}#/mixes")
        await expect(page.locator(".mix-input-chips .row-error")).to_have_text(HOSTILE)
        await page.goto(f"{server.url}#/mixes/wall")
        await expect(page.locator('[data-input="a"] .row-place')).to_have_text(HOSTILE)
        await expect(page.locator("[data-overlay] .mix-input-name")).to_have_text([HOSTILE.replace("/", ""), HOSTILE])
        await page.goto(f"{server.url}#/stream/{quote(HOSTILE)}")
        await expect(page.locator("#page h2")).to_have_text(f"There is no stream {HOSTILE}")
        assert await page.evaluate("() => document.querySelectorAll('img:not(.mark), script:not([src])').length") == 0
        assert await page.evaluate("() => window.pwned") is None
        assert await page.locator(".service a").count() == 0, "a javascript: address must not become a link"
    assert complaints == []


async def test_events_newest_first_and_bounded(page: Page) -> None:
    async with ConsoleServer(MadeUpMesh(MeshStatus()), EncodedStreams()) as server:
        await page.goto(server.url)
        await until(page, "document.body.dataset.feed === 'connected' && framemesh.clock.rttMs !== null")
        for number in range(60):
            server.mesh.emit(Event(service="capture", id=f"cam{number}", event="state", node="edge1", at_ns=1))
        await page.locator("#events-toggle").click()
        await expect(page.locator(".event-what").first).to_have_text("capture cam59")
        assert await page.locator(".event").count() == 50


async def test_history_is_told_once_and_is_no_news(page: Page) -> None:
    def event(number: int) -> Event:
        return Event(service="capture", id="cam0", event=f"e{number}", node="edge1", at_ns=number * 1_000_000)

    mesh = MadeUpMesh(MeshStatus(streams=(stream("cam0", "off"),)))
    mesh.history = [event(number) for number in (1, 2, 4)]
    async with ConsoleServer(mesh, EncodedStreams()) as server:
        await page.goto(f"{server.url}#/stream/cam0")
        shown = page.locator(".side .event-state")
        await expect(shown).to_have_text(["e4", "e2", "e1"])
        await expect(page.locator("#events-badge")).to_be_hidden()
        mesh.emit(event(5))
        await expect(page.locator("#events-badge")).to_have_text("1")
        mesh.history = [event(number) for number in range(2, 7)]  # e3 and e6 came while the gateway was away
        await server.stop()
        await server.start()
        await expect(shown).to_have_text(["e6", "e5", "e4", "e3", "e2", "e1"])
        await expect(page.locator("#events-badge")).to_have_text("3")


async def test_levels_rates_and_what_was_left_out(page: Page, complaints: list[str]) -> None:
    heard = msgspec.structs.replace(stream("cam0"), spec=StreamSpec(stream="cam0", source="test://", voice=True))
    gateway = msgspec.structs.replace(
        presence("webrtc-gateway", ""),
        process_cpu_percent=96.5,
        rss_bytes=123_000_000,
        restarts=3,
        dropped={"viewer_behind": 17, "none": 0},
    )
    status = MeshStatus(
        services=(gateway,),
        streams=(heard, stream("cam1")),
        renditions=(rendition("cam0", state="running", encoder="libx264", run=1),),
    )
    mesh = MadeUpMesh(status)
    stats = StreamStats(stream="cam0", node="edge1", state="live", status=2, level_dbfs=-15.0, speaking=True)
    mesh.replies = {"cam0.stats": stats, "sessions": SessionList(sessions=())}
    mesh.encoded = {"cam0--main": (10, 25_000)}  # pictures and bytes a second
    async with ConsoleServer(mesh, EncodedStreams()) as server:
        await page.goto(server.url)
        cam0, cam1 = page.locator("[data-stream=cam0]"), page.locator("[data-stream=cam1]")
        await expect(cam0.locator(".voice[data-speaking]")).to_have_attribute("title", re.compile("-15 dBFS"))
        await expect(cam1.locator(".voice")).to_be_hidden()
        mesh.emit(Event(service="capture", id="cam0", event="voice-ended", node="edge1", at_ns=1))
        mesh.replies["cam0.stats"] = msgspec.structs.replace(stats, speaking=False, level_dbfs=-60.0)
        await expect(cam0.locator(".voice")).to_contain_text("nobody speaks")
        await page.goto(f"{server.url}#/stream/cam0")
        main = page.locator('.big [data-rendition="main"]')
        await expect(main.locator(".rate")).to_have_text(re.compile(r"^(9\.[5-9]|10\.[0-5]) fps · (19\d|20\d) kbit/s$"))
        await expect(page.locator(".big .voice")).to_be_visible()
        await page.goto(f"{server.url}#/system")
        row = page.locator('tr[data-key="webrtc-gateway edge1"]')
        await expect(row).to_contain_text("97 %")
        await expect(row).to_contain_text("123.0 MB")
        await expect(row.locator('[data-label="Restarts"]')).to_have_text("3")
        await expect(row.locator(".bar")).to_have_attribute("data-tone", "warn")
        dropped = page.locator('section[aria-label="Left out"] tbody tr')
        await expect(dropped).to_have_text(["webrtc-gateway on edge1viewer behind17"])
    assert [text for text in complaints if "404" not in text] == []  # no pictures in this mesh


async def test_jobs_as_they_change(page: Page, complaints: list[str]) -> None:
    ids = [f"task-20260504100000-{number:012}" for number in range(3)]
    whole: dict[str, Any] = {"owner": "mesh", "to": "file://a/{index}.jpg", "submitted_ns": time.time_ns()}
    running = Job(id=ids[0], state="running", video="s3://b/a%20clip.mp4", started_ns=time.time_ns(), **whole)
    failed = Job(id=ids[1], state="failed", failure="download", message=HOSTILE, video=f"https://h/{HOSTILE}", **whole)
    mesh = MadeUpMesh(MeshStatus())
    mesh.replies = {"frame-extractor.list": JobList(jobs=())}
    async with ConsoleServer(mesh, EncodedStreams()) as server:
        await page.goto(f"{server.url}#/jobs")
        await expect(page.locator(".lesson")).to_contain_text("framemesh extract clip.mp4")
        mesh.replies["frame-extractor.list"] = JobList(jobs=(running, failed))
        mesh.emit(job_event(ids[0], "job-submitted", "pending", 1))
        rows = page.locator(".job")
        await expect(rows).to_have_count(2)
        await expect(page.locator(".lesson")).to_be_hidden()
        await expect(rows.nth(0).locator(".job-name")).to_have_text("a clip.mp4")
        await expect(rows.nth(1).locator(".row-error")).to_have_text(HOSTILE)
        await expect(rows.nth(1).get_by_role("button", name="Cancel")).to_be_hidden()
        mesh.emit(job_event(ids[0], "job-progress", "running", 2, done=25, expected=100))
        await expect(rows.nth(0).locator(".row-facts")).to_contain_text("25 of 100 pictures")
        await expect(rows.nth(0).get_by_role("progressbar")).to_have_attribute("value", "0.250")
        await expect(page.locator("#events-badge")).to_have_text("1")  # progress is no news
        mesh.replies["frame-extractor.cancel"] = JobReply(job=msgspec.structs.replace(running, state="canceled"))
        await rows.nth(0).get_by_role("button", name="Cancel the job of a clip.mp4").focus()
        await page.keyboard.press("Enter")
        mesh.replies["frame-extractor.list"] = JobList(
            jobs=(msgspec.structs.replace(running, state="canceled"), failed)
        )
        await page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
        await expect(rows.nth(0).locator(".chip")).to_have_text("Canceled")
        await expect(page.locator(f'.job[data-job="{ids[0]}"] a')).to_be_focused()  # not lost with the button
    assert [text for text in complaints if "ERR_" not in text] == []
    assert await page.evaluate("() => window.pwned") is None


async def test_older_jobs_stay_as_they_are_asked_for_page_by_page(page: Page, complaints: list[str]) -> None:
    now_ns = time.time_ns()
    jobs = [
        Job(
            id=f"task-20260504100000-{number:012}",
            state="completed",
            owner="mesh",
            video=f"file://{number}.mp4",
            to="file://a/{index}.jpg",
            submitted_ns=now_ns - 10**12 + number * 10**9,
        )
        for number in range(130)
    ]
    asked: list[ListJobs] = []
    forgotten: set[str | None] = set()

    def listed(data: bytes) -> JobList:
        request = msgspec.json.decode(data, type=ListJobs)
        asked.append(request)
        if request.before in forgotten:
            raise NotFound("before: it does not exist any more")
        fitting = [job for job in reversed(jobs) if request.before is None or job.id < request.before]
        return JobList(jobs=tuple(fitting[: request.limit]), more=len(fitting) > request.limit)

    def names(first: int, last: int) -> list[str]:
        return [f"{number}.mp4" for number in range(first, last - 1, -1)]

    mesh = MadeUpMesh(MeshStatus())
    mesh.replies = {"frame-extractor.list": listed}
    async with ConsoleServer(mesh, EncodedStreams()) as server:
        await page.goto(f"{server.url}#/jobs")
        rows = page.locator(".job .job-name")
        more = page.get_by_role("button", name="Show older ones")
        await expect(rows).to_have_text(names(129, 80))
        await more.click()
        await expect(rows).to_have_text(names(129, 30))
        await more.click()
        await expect(rows).to_have_text(names(129, 0))
        await expect(more).to_be_hidden()
        assert [request.before for request in asked if request.before] == [jobs[80].id, jobs[30].id]
        # New ones come above; of the older ones one is asked for anew with each look, in turn.
        jobs.append(
            msgspec.structs.replace(jobs[0], id=jobs[0].id[:-3] + "130", submitted_ns=now_ns, video="file://130.mp4")
        )
        jobs[70] = msgspec.structs.replace(jobs[70], state="failed", message="no such bucket")
        del jobs[:10]
        for number in range(4):
            count = len(asked)
            mesh.emit(job_event(jobs[-1].id, "job-submitted", "pending", number))
            async with patience(5):
                while len(asked) < count + 2:  # the newest, and a page of the older ones
                    await asyncio.sleep(0.02)
        await expect(rows).to_have_text(names(130, 10))
        await expect(page.locator(f'.job[data-job="{jobs[60].id}"] .row-error')).to_have_text("no such bucket")
        assert max(request.limit for request in asked) == 50
        forgotten.update(job.id for job in jobs)
        mesh.emit(job_event(jobs[-1].id, "job-submitted", "pending", 9))
        await expect(rows).to_have_text(names(130, 81))
        await expect(more).to_be_visible()
        # One that the mesh does not tell of just now, and then with pictures of which one could not be decoded.
        await page.goto(f"{server.url}#/jobs/{jobs[0].id}")
        await expect(page.get_by_role("heading", name="There is no such job")).to_be_visible()
        frames = tuple(
            ExtractedFrame(
                index=index, timestamp_s=index, pts_s=index, width=64, height=36, path=f"file://a/{index}.jpg"
            )
            for index in (0, 2, 3)
        )
        mesh.replies["frame-extractor.poll"] = JobReply(job=msgspec.structs.replace(jobs[1], done=3), frames=frames)
        await page.goto(f"{server.url}#/jobs/{jobs[1].id}")
        await page.get_by_role("button", name="Picture 2, at").click()
        await expect(page.locator(".picture-facts")).to_contain_text("2 of 3 · 2.000 s")
        await page.keyboard.press("ArrowRight")
        await expect(page.locator(".picture-facts")).to_contain_text("3 of 3 · 3.000 s")
    assert [text for text in complaints if "404" not in text and "ERR_" not in text] == []


def job_event(job: str, name: str, state: str, at_ns: int, **detail: int) -> Event:
    return Event(
        service="frame-extractor", id=job, event=name, node="edge1", at_ns=at_ns, state=state, detail={**detail}
    )


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_storm_of_reloads_leaves_nothing(page: Page, complaints: list[str]) -> None:
    names = tuple(f"cam{number}" for number in range(8))
    mesh = MadeUpMesh(MeshStatus(streams=tuple(stream(name) for name in names)))
    async with ConsoleServer(mesh, EncodedStreams(*names)) as server:
        assert server.gateway is not None
        await page.goto(server.url)
        all_play = "[...framemesh.tiles.values()].filter(({state}) => state === 'playing').length === 8"
        await until(page, all_play, 10 * slowness())
        sessions, files, tasks = (
            server.gateway.session_count,
            len(os.listdir("/proc/self/fd")),
            len(asyncio.all_tasks()),
        )
        assert sessions == len(names)
        for _ in range(20):
            await page.reload(wait_until="commit")
        await until(page, f"window.framemesh && {all_play}", 10 * slowness())
        async with patience(10):
            while server.gateway.session_count > sessions:
                await asyncio.sleep(0.05)
        async with patience(5):  # a connection ends a moment after its answer
            while len(asyncio.all_tasks()) > tasks + 4 or len(os.listdir("/proc/self/fd")) > files + 4:
                await asyncio.sleep(0.05)
        print(
            f"{sessions} sessions, {files} files and {tasks} tasks before; now {server.gateway.session_count},", end=" "
        )
        print(f"{len(os.listdir('/proc/self/fd'))} and {len(asyncio.all_tasks())}")
    assert complaints == []


async def test_picture_big_view_and_sound_by_keyboard(page: Page, complaints: list[str]) -> None:
    mesh = MadeUpMesh(MeshStatus(streams=(stream("cam0"), stream("cam1", "off"))))
    async with ConsoleServer(mesh, EncodedStreams("cam0")) as server:
        await page.goto(server.url)
        await until(page, PLAYING, 10)
        assert await page.evaluate("() => document.querySelector('video').muted")
        await until(page, "framemesh.tiles.get('cam0').latencySource === 'capture'")
        report = await page.evaluate("() => framemesh.tiles.get('cam0')")
        print(f"join {report['joinMs']:.0f} ms, latency {report['latencyMs']:.0f} ms")
        assert report["width"] == 640
        assert 0 <= report["latencyMs"] < 500
        await the_gateway_knows_the_latency(server, report["joinMs"])
        await page.get_by_role("link", name="Open cam0").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".tile.big .name")).to_be_focused()
        await expect(page).to_have_url(re.compile("#/stream/cam0$"))
        await expect(page.locator(".tile[data-stream=cam1]")).to_be_hidden()
        await page.keyboard.press("m")
        assert await page.evaluate("() => document.querySelector('video').muted") is False
        await expect(page.get_by_role("button", name="Sound of cam0")).to_have_attribute("aria-pressed", "true")
        await page.keyboard.press("Escape")
        await expect(page.locator(".tile.big")).to_have_count(0)
        assert await page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Open cam0"
        assert await page.evaluate("() => framemesh.tiles.get('cam0').reconnects") == 0
    assert complaints == []


async def the_gateway_knows_the_latency(server: ConsoleServer, join_ms: float) -> None:
    """The page echoes what it shows: its own join time, and the capture time where no code is burnt in."""
    assert server.gateway is not None
    async with patience(5):
        while (session := server.gateway.sessions()[0]).latency_ms is None:
            await asyncio.sleep(0.02)
    print(f"the gateway: key picture sent after {session.join_ms} ms, latency {session.latency_ms:.0f} ms")
    assert session.picture_ms == pytest.approx(join_ms)
    assert session.join_ms is not None
    assert 0 < session.join_ms < join_ms
    assert 0 <= session.latency_ms < 500
    assert session.latency_source == "capture"


async def test_only_visible_tiles_play(page: Page) -> None:
    names = ("cam0", "cam1", "cam2")
    await page.set_viewport_size({"width": 600, "height": 300})
    mesh = MadeUpMesh(MeshStatus(streams=tuple(stream(name) for name in names)))
    async with ConsoleServer(mesh, EncodedStreams(*names)) as server:
        await page.goto(server.url)
        await until(page, PLAYING, 10)
        assert server.gateway
        assert {session.stream for session in server.gateway.sessions()} == {"cam0"}
        await page.locator("[data-stream=cam2]").scroll_into_view_if_needed()
        await until(page, "framemesh.tiles.get('cam2').state === 'playing'")
        await until(page, "framemesh.tiles.get('cam0').state === 'idle'")
        still = (
            "() => document.querySelector('[data-stream=cam0] canvas').getContext('2d').getImageData(320, 100, 1, 1)"
        )
        assert max((await page.evaluate(f"({still})().data[1]"), 0)) > 30, "the last picture stays"


async def test_socket_drop_reconnects_quickly(page: Page) -> None:
    mesh = MadeUpMesh(MeshStatus())
    async with ConsoleServer(mesh, EncodedStreams()) as server:
        await page.goto(server.url)
        await until(page, "document.body.dataset.feed === 'connected'")
        await server.stop()
        await until(page, "document.body.dataset.feed === 'reconnecting'")
        mesh.show(MeshStatus(streams=(stream("new", "connecting"),)))
        await server.start()
        waited_ms = await until(page, "document.body.dataset.feed === 'connected'")
        print(f"event socket back {waited_ms:.0f} ms after the door")
        assert waited_ms < 1000
        await expect(page.locator(".tile .name")).to_have_text(["new"])


async def test_a_session_that_the_server_ends_is_joined_again_at_once(page: Page) -> None:
    """Without waiting for the stall of the picture (2 s) or for connectionState (6 s)."""
    async with ConsoleServer(MadeUpMesh(MeshStatus(streams=(stream("cam0"),))), EncodedStreams("cam0")) as server:
        await page.goto(server.url)
        await until(page, PLAYING, 10)
        assert server.gateway is not None
        (session,) = server.gateway.sessions()
        server.gateway.delete(session.session)
        again = "framemesh.tiles.get('cam0').reconnects === 1 && framemesh.tiles.get('cam0').state === 'playing'"
        waited_ms = await until(page, again, 1.5)
        print(f"picture back {waited_ms:.0f} ms after the server's goodbye")


async def test_killed_gateway_gives_the_picture_back(page: Page) -> None:
    http_port, udp_port = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    first = await gateway_process(http_port, udp_port)
    second = None
    try:
        await page.goto(f"http://127.0.0.1:{http_port}/")
        await until(page, PLAYING, 10)
        await page.evaluate("() => { window.was = document.querySelector('video'); }")
        killed = time.monotonic()
        os.kill(first.pid, signal.SIGKILL)
        await until(page, "framemesh.tiles.get('cam0').state === 'reconnecting'", 1)
        assert await page.evaluate(PICTURE_BRIGHTNESS) > 30, "the last picture stays"
        second = await gateway_process(http_port, udp_port)
        up = time.monotonic()
        await until(page, "framemesh.tiles.get('cam0').state === 'playing'")
        back = time.monotonic()
        print(f"picture back {back - killed:.2f} s after the kill, {back - up:.2f} s after the door opened")
        assert back - up < 1.0 * slowness()
        report = await page.evaluate("() => framemesh.tiles.get('cam0')")
        assert report["reconnects"] == 1
        assert await page.evaluate("() => document.querySelectorAll('video').length") == 1
    finally:
        for process in filter(None, (first, second)):
            if process.returncode is None:
                process.kill()
            await process.wait()


PICTURE_BRIGHTNESS = """() => {
  const context = new OffscreenCanvas(16, 9).getContext('2d');
  context.drawImage(document.querySelector('video'), 0, 0, 16, 9);
  return Math.max(...context.getImageData(0, 4, 16, 1).data.filter((_, index) => index % 4 === 1));
}"""


@pytest.mark.parametrize("scale", [1.0, 0.5, 2 / 3])
async def test_time_code_is_read(page: Page, scale: float) -> None:
    at_ms = 1_795_224_463_841
    picture = np.full((360 * 3 // 2, 640), 128, np.uint8)
    timecode.burn(picture, at_ms)
    luma = picture[:360]
    async with ConsoleServer(MadeUpMesh(MeshStatus()), EncodedStreams()) as server:
        await page.goto(server.url)
        found = await page.evaluate(
            """async ([levels, scale, near]) => {
              const { TimecodeReader } = await import('/console/timecode.js');
              const whole = new OffscreenCanvas(640, 360);
              const pixels = new ImageData(640, 360);
              Uint8Array.from(atob(levels), (one) => one.charCodeAt(0))
                .forEach((level, i) => pixels.data.set([level, level, level, 255], i * 4));
              whole.getContext('2d').putImageData(pixels, 0, 0);
              const shown = document.createElement('canvas');
              shown.width = shown.videoWidth = 640 * scale;
              shown.height = shown.videoHeight = 360 * scale;
              shown.getContext('2d').drawImage(whole, 0, 0, shown.width, shown.height);
              return new TimecodeReader().read(shown, near);
            }""",
            [b64encode(luma.tobytes()).decode(), scale, at_ms + 40],  # a list of so many numbers takes it seconds
        )
    assert found == at_ms


async def test_clock_trusts_the_shortest_round_trip(page: Page) -> None:
    async with ConsoleServer(MadeUpMesh(MeshStatus()), EncodedStreams()) as server:
        await page.goto(server.url)
        wall_ms = await page.evaluate(
            """async () => {
              const { ServerClock } = await import('/console/clock.js');
              const clock = new ServerClock();
              clock.add(0, 100, 5080);  // slow, asymmetric: 30 ms wrong
              clock.add(200, 202, 5201);
              clock.add(300, 340, 5310);
              return clock.wallAt(1000);
            }"""
        )
    assert wall_ms == 6000


async def gateway_process(http_port: int, udp_port: int) -> asyncio.subprocess.Process:
    """The console's gateway as a process of its own, once its door is open."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.console_server",
        str(http_port),
        str(udp_port),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    line = await asyncio.wait_for(process.stdout.readline(), timeout=15)
    assert line.strip() == str(http_port).encode()
    return process
