"""The console on a real mesh in headless Chromium: what an operator clicks happens, and looks as it should.

Pictures of every page stay in tests/artefacts/console.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.support.console import ARGUMENTS, CHROMIUM, PAGE_SECONDS, ConsolePage
from tests.support.mesh import RunningMesh

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
ARTEFACTS = Path(__file__).parents[1] / "artefacts" / "console"
SIZES = {"desk": (1440, 900), "phone": (390, 844)}
PAGES = {"wall": "", "stream": "stream/cam0"} | {name: name for name in ("add", "publish", "jobs", "signals", "system")}
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SEVERE = {"serious", "critical"}
SUM_UP_SHIFTS = """
  window.shift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
  }).observe({type: "layout-shift", buffered: true});
"""
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def control_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("io") / "do1"
    file.touch()
    return file


@pytest.fixture(scope="module")
def mesh(control_file: Path) -> Iterator[RunningMesh]:
    with RunningMesh(environment={"FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(control_file.parent)}) as running:
        for name in ("cam0", "cam1"):
            running.call("capture.start", stream=name, source="test://?size=384x216&fps=15")
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PAGE_SECONDS * 1e3)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*ARGUMENTS, *FAKE_CAMERA])
        try:
            yield launched
        finally:
            launched.close()


@pytest.fixture
def console(browser: Browser) -> Iterator[ConsolePage]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    opened = ConsolePage(context.new_page())
    try:
        yield opened
    finally:
        context.close()


def at(mesh: RunningMesh, route: str) -> str:
    return f"{mesh.console}#/{route}"


def card(page: Page, name: str) -> Locator:
    return page.locator(f'.big section[aria-label="{name}"]')


def act(page: Page, name: str) -> None:
    page.click(f'.big [data-action="{name}"]')


def streams_video(file: Path) -> dict[str, Any]:
    """What ffprobe says of the first video stream; fails when it complains."""
    command = [
        "ffprobe",
        "-v",
        "error",
        "-count_packets",
        "-select_streams",
        "v:0",
        "-show_streams",
        "-of",
        "json",
        file,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)["streams"][0]
    return found


def test_record_play_and_download(mesh: RunningMesh, console: ConsolePage, tmp_path: Path) -> None:
    page = console.page
    console.open(at(mesh, "stream/cam0"))  # a deep link
    console.playing("cam0", 20)
    page.reload()
    console.playing("cam0", 20)
    expect(page.locator(".big .name")).to_have_text("cam0")
    act(page, "record")
    expect(page.locator(".big .rec")).to_be_visible()
    expect(page.locator('.big [data-action="record"]')).to_have_attribute("aria-pressed", "true")
    expect(page.locator('.big [data-action="record"]')).to_contain_text("0:01")
    page.keyboard.press("r")
    expect(page.locator(".toast").last).to_contain_text("Recorded")
    expect(page.locator(".big .rec")).to_be_hidden()
    row = card(page, "Recordings").locator(".recording").first
    with page.expect_download() as download:
        row.get_by_role("link", name="Download").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    video = streams_video(file)
    assert (video["codec_name"], video["width"], video["height"]) == ("h264", 384, 216)
    assert int(video["nb_read_packets"]) >= 10
    the_door_serves_ranges(page, str(row.get_by_role("link", name="Download").get_attribute("href")), file.read_bytes())
    row.get_by_role("button", name="Play").click()
    page.wait_for_function(
        "() => { const v = document.querySelector('video.recorded'); return v && v.currentTime > 0.2; }"
    )
    assert page.evaluate("() => document.querySelector('video.recorded').videoWidth") == 384
    page.evaluate("() => { document.querySelector('video.recorded').currentTime = 0.5; }")  # seeks by a range
    page.wait_for_function("() => document.querySelector('video.recorded').currentTime > 0.6")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    # Cut out of it, by keyboard; the dialog begins with the file's own times.
    row.get_by_role("button", name="Clip").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Clip of cam0")
    dialog.get_by_label("To").focus()
    page.keyboard.press("Enter")
    expect(dialog.locator(".made")).to_contain_text("The clip is there")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.wait_for_url("**/#/stream/cam0")  # that Escape was the dialog's
    clip = card(page, "Recordings").locator(".recording", has_text="clip")
    expect(clip).to_have_count(1)
    clip.get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".toast").last).to_contain_text("Deleted")
    expect(clip).to_have_count(0)
    expect(row.get_by_role("button", name="Play")).to_be_focused()  # the keyboard goes on where it was
    assert list(mesh.media_dir.rglob("clips/*")) == []
    # What happened before a page was opened is there, once.
    page.reload()
    events = card(page, "Events").locator(".event")
    expect(events.filter(has_text="recording-stopped")).to_have_count(1)
    expect(events.filter(has_text="recording-deleted")).to_have_count(1)
    assert console.complaints == []


def the_door_serves_ranges(page: Page, url: str, whole: bytes) -> None:
    get = page.request.get
    about = page.request.head(url)
    tag = about.headers["etag"]
    assert (about.status, about.headers["content-type"]) == (200, "video/mp4")
    assert int(about.headers["content-length"]) == len(whole)
    part = get(url, headers={"Range": "bytes=100-199", "If-Range": tag})
    assert (part.status, part.body()) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert get(url, headers={"Range": "bytes=-7"}).body() == whole[-7:]
    other = get(url, headers={"Range": "bytes=100-199", "If-Range": '"another"'})
    assert (other.status, other.body()) == (200, whole), "two states of a file are never put together"
    assert get(url, headers={"If-None-Match": tag}).status == 304
    beyond = get(url, headers={"Range": f"bytes={len(whole)}-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    assert get(url.replace("/cam0/", "/cam1/", 1)).status == 404, "another stream's"
    assert get(url.replace("/test/", "/elsewhere/", 1)).status == 503
    outside = get(f"{url.partition('cam0%2F')[0]}..%2F..%2Fetc%2Fpasswd")
    assert outside.status in (400, 404), "no name leads outside"


def test_snapshot_key_frame_and_restart(mesh: RunningMesh, console: ConsolePage, tmp_path: Path) -> None:
    page = console.page
    console.open(at(mesh, "stream/cam0"))
    console.playing("cam0", 20)
    page.keyboard.press("s")
    assert page.wait_for_selector("canvas.snapshot")
    assert page.evaluate("() => document.querySelector('canvas.snapshot').width") == 384
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert Path(download.value.path()).read_bytes()[:3] == b"\xff\xd8\xff", "a JPEG"
    page.keyboard.press("Escape")
    act(page, "keyframe")
    expect(page.locator(".toast").last).to_contain_text("Key frame asked of main")
    before = mesh.actual("streams", "cam0")["epoch"]
    act(page, "restart")
    mesh.wait_for(lambda: mesh.actual("streams", "cam0")["epoch"] > before, what="a new epoch")
    console.playing("cam0", 20)
    expect(card(page, "Measurements").locator(".graph-value").first).to_contain_text("fps")
    expect(card(page, "Events").locator(".event").first).to_be_visible()
    assert console.complaints == []


def test_a_moment_that_has_passed(mesh: RunningMesh, console: ConsolePage) -> None:
    page = console.page
    console.open(at(mesh, "stream/cam0"))
    console.playing("cam0", 20, frames=45)  # three seconds are in memory
    page.keyboard.press("p")
    dialog = page.get_by_role("dialog", name="A moment of cam0")
    facts = dialog.locator(".moment-facts")
    expect(facts).to_have_text(re.compile(r"captured \d\d:\d\d:.* the moment · from the packets in memory .* 384×216"))
    off = re.search(r"([\d.]+) ms (?:before|after) the moment", str(facts.text_content()))
    assert off is None or float(off[1]) <= 1000 / 15, "no picture is nearer than one at this rate"
    first = facts.text_content()
    page.keyboard.press("ArrowRight")  # the next picture
    expect(facts).not_to_have_text(str(first))
    no_severe_violations(page, "moment")
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes()[:3] == b"\xff\xd8\xff", "a JPEG"
    assert console.complaints == []


def test_pictures_out_of_a_video(mesh: RunningMesh, console: ConsolePage) -> None:
    page, clip = console.page, mesh.media_dir / "a clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=3"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, "-pix_fmt", "yuv420p", clip], check=True, timeout=30)
    console.open(at(mesh, "jobs"))
    form = page.get_by_role("form", name="New job")
    form.get_by_label("Video", exact=True).focus()
    page.keyboard.type("nothing.mp4")
    page.keyboard.press("Enter")
    failure = page.locator("#page .form-error")
    expect(failure).to_contain_text("there is no such file")
    page.keyboard.press("Tab")
    page.get_by_role("link", name="Back to all jobs").click()
    expect(page.locator(".job .row-error")).to_contain_text("there is no such file")
    form.get_by_label("Video", exact=True).fill("a clip.mp4")
    expect(form.get_by_label("Where they go")).to_have_value("file://a-clip/{index:05d}.{autoext}")
    form.get_by_label("Pictures a second").fill("0")
    page.keyboard.press("Enter")
    expect(form.locator(".field-error:visible")).to_contain_text("> 0")
    form.get_by_label("Pictures a second").fill("")
    page.keyboard.press("Enter")
    pictures = page.locator(".job-picture img")
    expect(pictures).to_have_count(3)
    page.wait_for_function("() => [...document.querySelectorAll('.job-picture img')].every((one) => one.naturalWidth)")
    no_severe_violations(page, "job")
    page.locator(".job-picture").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    dialog = page.get_by_role("dialog", name="a clip.mp4, 1.50 s")
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "00001.jpg"
    written = mesh.folder / "data" / "pictures" / "a-clip" / "00001.jpg"
    assert Path(download.value.path()).read_bytes() == written.read_bytes()
    assert [text for text in console.complaints if "400" not in text] == []  # browsers tell of a refused form, too


def no_severe_violations(page: Page, what: str) -> None:
    page.evaluate(AXE)
    found = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    violations = {one["id"]: [node["html"] for node in one["nodes"]] for one in found["violations"]
                  if one["impact"] in SEVERE}  # fmt: skip
    assert violations == {}, what


def test_renditions(mesh: RunningMesh, console: ConsolePage) -> None:
    console.open(at(mesh, "stream/cam0"))
    renditions = card(console.page, "Renditions")
    renditions.locator("summary").click()
    renditions.get_by_label("Name").fill("low")
    renditions.get_by_label("Size").fill("postcard")
    renditions.get_by_role("button", name="Start").click()
    expect(renditions.locator('[data-field="size"] .field-error')).to_contain_text("postcard")
    renditions.get_by_label("Size").fill("160x90")
    renditions.get_by_label("Encode even while nobody watches").check()
    renditions.get_by_role("button", name="Start").click()
    low = renditions.locator('[data-rendition="low"]')
    expect(low).to_contain_text("running")
    expect(low).to_contain_text("160×90")
    expect(low.locator(".rate")).to_contain_text("fps")
    low.get_by_role("button", name="Stop").click()
    expect(low).to_have_count(0)
    stopped = renditions.locator('[data-stopped-rendition="low"]')
    stopped.get_by_role("button", name="Start").click()
    expect(low).to_contain_text("160×90")
    expect(stopped).to_have_count(0)
    low.get_by_role("button", name="Stop").click()
    expect(low).to_have_count(0)


def test_outputs(mesh: RunningMesh, console: ConsolePage) -> None:
    console.open(at(mesh, "stream/cam0"))
    outputs = card(console.page, "Outputs")
    outputs.locator("summary").click()
    outputs.get_by_label("To", exact=True).fill("carrier-pigeon://coop")
    outputs.get_by_role("button", name="Start").click()
    expect(outputs.locator('[data-field="to"] .field-error')).to_contain_text("carrier-pigeon")
    outputs.get_by_label("Name").fill("archive")
    outputs.get_by_label("To", exact=True).fill("file://archive.ts")
    outputs.get_by_role("button", name="Start").click()
    archive = outputs.locator('[data-output="archive"]')
    expect(archive).to_contain_text("running")
    archive.get_by_role("button", name="Stop").click()
    expect(archive).to_have_count(0)
    outputs.locator('[data-stopped-output="archive"]').get_by_role("button", name="Start").click()
    expect(archive).to_contain_text("running")
    archive.get_by_role("button", name="Stop").click()
    expect(archive).to_have_count(0)
    assert mesh.actual("outputs", "cam0", "archive") is None


def test_add_and_remove_a_stream(mesh: RunningMesh, console: ConsolePage) -> None:
    page = console.page
    console.open(at(mesh, "stream/door"))
    expect(page.get_by_role("heading", name="There is no stream door")).to_be_visible()
    page.get_by_role("link", name="Add a stream").click()
    page.get_by_role("button", name="Test pattern").click()
    page.locator("#page").get_by_label("Source", exact=True).fill("gopher://hole")
    page.locator("#page").get_by_label("Name").fill("Front Door")
    page.get_by_role("button", name="Add the stream").click()
    expect(page.locator('#page [data-field="stream"] .field-error')).to_contain_text("Front Door")
    page.locator("#page").get_by_label("Name").fill("door")
    page.get_by_role("button", name="Add the stream").click()
    expect(page.locator('#page [data-field="source"] .field-error')).to_contain_text("gopher")
    page.locator("#page").get_by_label("Source", exact=True).fill("test://?size=384x216&fps=15")
    page.get_by_role("button", name="Add the stream").click()
    page.wait_for_url("**/#/stream/door")
    console.playing("door", 20)
    act(page, "remove")
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.wait_for_url("**/#/")
    expect(page.locator('[data-stream="door"]')).to_have_count(0)
    assert mesh.actual("streams", "door") is None
    page.go_back()
    page.get_by_role("button", name="Start door again").click()
    console.playing("door", 20)
    mesh.call("capture.stop", stream="door")


def test_system_page_and_kick(mesh: RunningMesh, browser: Browser, console: ConsolePage) -> None:
    page = console.page
    other = browser.new_context()
    try:
        viewer = ConsolePage(other.new_page())
        viewer.open(mesh.console)
        viewer.playing("cam1", 20)
        console.open(at(mesh, "system"))
        capture = page.locator('tr[data-key="capture test"]')
        expect(capture.locator(".chip")).to_have_text("up")
        expect(capture.locator('[data-label="CPU"]')).to_contain_text("%")
        expect(capture.locator('[data-label="Memory"]')).to_contain_text("MB")
        expect(capture.locator('[data-label="Restarts"]')).to_have_text("0")
        row = page.locator('section[aria-label="Sessions"] tbody tr', has_text="cam1").first
        expect(row).to_contain_text("playing")
        expect(row.locator('[data-label="Join"]')).to_have_text(re.compile(r"^\d[\d.]* m?s$"))
        session = row.get_attribute("data-key")
        row.get_by_role("button").click()
        page.get_by_role("dialog").get_by_role("button", name="Kick").click()
        expect(page.locator(f'tr[data-key="{session}"]')).to_have_count(0)
    finally:
        other.close()


def test_publish_a_camera(mesh: RunningMesh, console: ConsolePage) -> None:
    page = console.page
    console.open(at(mesh, "publish"))
    page.locator("#page").get_by_label("Size").select_option("640x360")
    page.get_by_role("button", name="Start sending").click()
    expect(page.locator(".sending .chip")).to_have_text("sending")
    page.get_by_role("link", name="Open the stream").click()
    page.wait_for_url("**/#/stream/webcam")
    console.playing("webcam", 20)
    page.goto(at(mesh, "publish"))  # the camera has been sending all the while
    expect(page.locator(".sending .chip")).to_have_text("sending")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".sending .chip")).to_have_text("not sending")


def test_by_keyboard_alone(mesh: RunningMesh, console: ConsolePage) -> None:
    page = console.page
    console.open(mesh.console)
    console.playing("cam0", 20)

    def focused() -> str:
        return str(
            page.evaluate(
                "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
            )
        )

    page.keyboard.press("Tab")
    assert focused() == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused() == "Open cam0"
    ring = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid", "the focus is seen"
    page.keyboard.press("ArrowRight")
    assert focused() == "Open cam1"
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/stream/cam1")
    expect(page.locator('.big[data-stream="cam1"]')).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.locator('.big[data-stream="cam0"]')).to_be_visible()  # a moment behind the address
    page.keyboard.press("Escape")
    page.wait_for_url("**/#/")
    expect(page.locator(":focus")).to_have_attribute("aria-label", "Open cam0")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_contain_text("start or stop recording")
    page.keyboard.press("Escape")
    page.keyboard.press("7")
    page.wait_for_url("**/#/system")
    page.keyboard.press("2")
    page.wait_for_url("**/#/add")
    page.locator("#page").get_by_label("Name").focus()
    page.keyboard.type("tree4")  # letters are letters in a field
    assert page.locator("#page").get_by_label("Name").input_value() == "tree4"
    assert page.url.endswith("#/add")


def test_outputs_are_set_by_hand(mesh: RunningMesh, console: ConsolePage, control_file: Path) -> None:
    mesh.call("io-signal.start", signal="do1", mode="io", address=control_file.as_uri())
    mesh.call("io-signal.start-rule", rule="reject", when="app.line1.ng", do=[{"signal": "do1"}])
    page = console.page
    console.open(at(mesh, "signals"))
    row, changes = page.locator('.signals [data-name="do1"]'), page.get_by_role("list", name="Last changes")
    page.get_by_role("button", name="On do1").click()
    expect(row).to_have_attribute("data-state", "on")
    assert control_file.read_text() == "1"
    expect(row.locator(".row-facts")).to_contain_text("by console (by hand)")
    expect(changes.locator("li").first).to_contain_text("on by console (by hand)")
    page.get_by_role("button", name="Pulse do1").click()
    expect(changes.locator("li").first).to_contain_text("off, its time was over")
    assert control_file.read_text() == "0"
    expect(page.locator('.signals [data-name="reject"]')).to_contain_text("when app.line1.ng · has not acted")
    page.get_by_role("button", name="On do1").click()
    expect(row).to_have_attribute("data-state", "on")
    page.get_by_role("button", name="Off-mode").click()
    page.get_by_role("dialog", name="Begin off-mode?").get_by_role("button", name="Begin off-mode").click()
    expect(row).to_have_attribute("data-state", "off")
    assert control_file.read_text() == "0"
    page.get_by_role("button", name="On do1").click()
    expect(page.locator("#toasts")).to_contain_text("off-mode is active")
    page.get_by_role("button", name="End off-mode").click()
    expect(page.get_by_role("button", name="Off-mode", exact=True)).to_be_visible()
    page.get_by_role("button", name="On do1").click()
    expect(row).to_have_attribute("data-state", "on")
    # The browser tells of each command that is refused.
    assert all("409" in complaint for complaint in console.complaints), console.complaints


def test_theme_is_the_system_s_until_chosen(mesh: RunningMesh, console: ConsolePage) -> None:
    page = console.page
    page.emulate_media(color_scheme="light")
    console.open(mesh.console)
    theme = "() => document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "light"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    page.click("#theme-toggle")
    assert page.evaluate(theme) == "light"
    page.reload()
    assert page.evaluate(theme) == "light"


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        ("phone", "light"),
        pytest.param("desk", "dark", marks=pytest.mark.long),
        pytest.param("desk", "light", marks=pytest.mark.long),
        pytest.param("phone", "dark", marks=pytest.mark.long),
    ],
)
def test_every_page_is_accessible_and_fits(mesh: RunningMesh, browser: Browser, size: str, scheme: Any) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    # A stream that a page has published stays a moment, in case the page comes back; on the wall its end moves others.
    mesh.wait_for(lambda: len(mesh.status()["streams"]) == 2, 20, "what was published before is gone")
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        console = ConsolePage(context.new_page())
        page = console.page
        page.add_init_script(SUM_UP_SHIFTS)
        for name, route in PAGES.items():
            page.goto("about:blank")
            console.open(at(mesh, route))
            if name in ("wall", "stream"):
                console.playing("cam0", 20)
            else:
                expect(page.locator("#page")).to_be_visible()
                page.wait_for_function("() => document.querySelector('#summary').textContent !== ''")
            page.screenshot(path=ARTEFACTS / f"{name}-{size}-{scheme}.png", full_page=size == "phone")
            no_severe_violations(page, name)
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
            shift = page.evaluate("() => window.shift")
            print(f"{name} {size} {scheme}: layout shift {shift:.3f}")
            assert shift < 0.1, f"{name}: parts move while it loads"  # web.dev's bound of a good page
        assert console.complaints == []
    finally:
        context.close()


@pytest.mark.long  # it has a mesh of its own
def test_signing_in(console: ConsolePage, tmp_path: Path) -> None:
    token = "viewers-are-welcome-here"
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(f'- {{name: guests, token: {token}, streams: ["*"], actions: [view]}}\n')
    tokens.chmod(0o600)
    page = console.page
    with RunningMesh(environment={"FRAMEMESH_WEBRTC_GATEWAY_TOKENS_FILE": str(tokens)}) as shut:
        shut.call("capture.start", stream="cam0", source="test://?size=384x216&fps=15")
        console.open(at(shut, "stream/cam0"))
        dialog = page.get_by_role("dialog", name="Sign in")
        dialog.get_by_label("Token").fill("not-the-one-that-is-wanted")
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog.locator(".field-error")).to_contain_text("the token is not taken: it is not known here")
        dialog.get_by_text("How do I get a token?").click()
        expect(dialog.locator("code")).to_contain_text("framemesh token")
        dialog.get_by_label("Token").fill(token)
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog).to_have_count(0)  # the page is loaded anew
        console.playing("cam0", 20)
        expect(page.locator('.big [data-action="snapshot"]')).to_be_visible()
        expect(page.locator('.big [data-action="remove"]')).to_be_hidden()
        assert page.evaluate("() => document.cookie + JSON.stringify(localStorage)") == "{}", "no script sees the token"
        tokens.write_text("[]\n")  # taken back while the page is open
        expect(dialog.get_by_role("alert")).to_contain_text("not taken any more")
        tokens.write_text(f'- {{name: guests, token: {token}, streams: ["line-*"], actions: [view]}}\n')
        dialog.get_by_label("Token").fill(token)
        expect(page.locator("body")).to_have_attribute("data-feed", "connected")  # the file was read
        page.reload()
        expect(page.get_by_role("heading", name="Your token is not for cam0")).to_be_visible()
        expect(page.locator("#page")).to_contain_text("view:cam0")
        assert page.request.get(f"{shut.console}recordings/cam0/test/a.mp4").status == 403
        assert page.request.get(f"{shut.console}recordings/line-1/test/a.mp4").status == 404
        page.goto(at(shut, "system"))
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()


def test_a_lost_gateway_is_told(mesh: RunningMesh, console: ConsolePage) -> None:
    """Last of this file: the gateway is killed, and comes back."""
    page = console.page
    console.open(mesh.console)
    console.playing("cam0", 20)
    mesh.kill("webrtc-gateway")
    expect(page.locator("body")).to_have_attribute("data-feed", "reconnecting")
    expect(page.locator("body")).to_have_attribute("data-feed", "connected")
    console.playing("cam0", 20)
    expect(page.locator("#lost")).to_be_hidden()
