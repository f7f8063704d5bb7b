"""The console's pages of mixes on a real mesh: what is dragged, muted and deleted there happens in the picture.

Pictures of the pages stay in tests/artefacts/console.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import axe_playwright_python
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.console import ARGUMENTS, CHROMIUM, PAGE_SECONDS, ConsolePage
from tests.support.mesh import CallFailed, RunningMesh

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
ARTEFACTS = Path(__file__).parents[1] / "artefacts" / "console"
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
OPERATOR, LOOKER = "the-token-of-the-vision-mixer", "the-token-of-the-lobby-screen"
TOKENS = [
    {"name": "mixer", "token": OPERATOR, "streams": ["*"], "actions": ["view", "control"]},
    {"name": "lobby", "token": LOOKER, "streams": ["*"], "actions": ["view"]},
]
WIDTH, HEIGHT = 640, 360
MIX, TASK_MIX = "wall", "mix-00c0ffee00c0ffee"
UPDATES_SENT = """() => performance.getEntriesByType("resource")
  .filter(({name}) => name.includes("cloud-mix-proxy.update")).map(({startTime}) => startTime)"""
SEND_EVERY_SECONDS, EARLY_SECONDS = 0.2, 0.03  # a browser's timers may fire a little early
SNAP = """async ([name, box, dx, dy, canvas, shape]) =>
  (await import("/console/mixes/model.js"))[name](box, dx, dy, canvas, shape)"""
DARK_LEVEL, LIT_LEVEL = 8.0, 60.0  # mean of 0 to 255: of a canvas with nothing on it, of the test pattern


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    tokens = tmp_path_factory.mktemp("door") / "tokens.yaml"
    tokens.write_text(json.dumps(TOKENS))
    tokens.chmod(0o600)
    with RunningMesh(environment={"FRAMEMESH_WEBRTC_GATEWAY_TOKENS_FILE": str(tokens)}) as running:
        for name in ("cam0", "cam1"):
            running.call("capture.start", stream=name, source="test://?size=384x216&fps=15")
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PAGE_SECONDS * 1e3)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        try:
            yield launched
        finally:
            launched.close()


@pytest.fixture
def mixes(mesh: RunningMesh) -> Iterator[RunningMesh]:
    """The mesh without mixes, before and after."""
    for name in (MIX, TASK_MIX):
        delete(mesh, name)
    yield mesh
    for name in (MIX, TASK_MIX):
        delete(mesh, name)


def delete(mesh: RunningMesh, name: str) -> None:
    with contextlib.suppress(CallFailed):  # there is none
        mesh.call("cloud-mix-proxy.delete", mix=name)


def opened(mesh: RunningMesh, browser: Browser, token: str, route: str) -> ConsolePage:
    console = ConsolePage(browser.new_context(viewport={"width": 1440, "height": 900}).new_page())
    sign_in(console.page, mesh, token)
    console.open(f"{mesh.console}#/{route}")
    return console


def sign_in(page: Page, mesh: RunningMesh, token: str) -> None:
    answer = page.context.request.post(f"{mesh.console}api/login", headers={"Authorization": f"Bearer {token}"})
    assert answer.ok


def spec_of(mesh: RunningMesh) -> Any:
    return mesh.call("cloud-mix-proxy.get", mix=MIX)["spec"]


def picture(mesh: RunningMesh) -> npt.NDArray[np.float64]:
    """Brightness of what the mix shows now, shape (360, 640)."""
    request = Request(f"{mesh.console}frame/{MIX}?format=png", headers={"Authorization": f"Bearer {OPERATOR}"})
    with urlopen(request, timeout=10) as response:
        return np.asarray(Image.open(io.BytesIO(response.read())).convert("L"), np.float64)


def drag(page: Page, selector: str, by: tuple[int, int], steps: int = 1, corner: bool = False) -> None:
    """By so many pixels of the canvas."""
    box = page.locator(selector).bounding_box()
    canvas = page.locator(".mix-boxes").bounding_box()
    assert box
    assert canvas
    scale = canvas["width"] / WIDTH
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    if corner:  # which is within the canvas, whatever the box
        x = min(box["x"] + box["width"], canvas["x"] + canvas["width"]) - 6
        y = min(box["y"] + box["height"], canvas["y"] + canvas["height"]) - 6
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by[0] * scale, y + by[1] * scale, steps=steps)
    page.mouse.up()


def boxes_snap(page: Page) -> None:
    """To 8 pixels and to the edges of the canvas, which may be beside the grid; a part of them stays on it."""
    box = {"x": 100, "y": 40, "width": 200, "height": 100}
    cases = [
        ("moved", box, [3, 3], (854, 480), (104, 40, 200, 100)),
        ("moved", box, [551, 0], (854, 480), (654, 40, 200, 100)),  # its right edge is the canvas'
        ("moved", box, [-9999, 9999], (854, 480), (-184, 464, 200, 100)),
        ("sized", box, [552, 338], (854, 480), (100, 40, 754, 440)),
        ("sized", box, [-9999, -9999], (854, 480), (100, 40, 16, 16)),
        ("sized", box, [60, 0], (854, 480), (100, 40, 260, 128)),  # with its shape
    ]
    for name, before, by, canvas, expected in cases:
        shape = 2 if by == [60, 0] else None
        placed = page.evaluate(SNAP, [name, before, *by, canvas, shape])
        assert tuple(placed[side] for side in ("x", "y", "width", "height")) == expected, (name, by)


def looks_well(page: Page, name: str) -> None:
    """In both themes, one of them on a phone, nothing is hidden from anybody, and nothing goes beyond the edge."""
    page.evaluate(AXE)
    for theme, size, width in (("dark", "phone", 380), ("light", "desk", 1440)):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, (name, theme)
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=ARTEFACTS / f"{name}-{size}-{theme}.png", full_page=True)
        found = page.evaluate("() => axe.run({resultTypes: ['violations']})")
        assert {one["id"]: [node["html"] for node in one["nodes"]] for one in found["violations"]} == {}, (name, theme)
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_mix_is_made_laid_out_muted_and_deleted(mixes: RunningMesh, browser: Browser) -> None:
    mesh = mixes
    console = opened(mesh, browser, OPERATOR, "mixes")
    page = console.page
    expect(page.locator(".lesson code").first).to_have_text(
        "framemesh mix create wall mesh://cam0 mesh://cam1 --layout grid"
    )
    boxes_snap(page)
    looks_well(page, "mixes-empty")
    page.fill('[data-field="mix"] input', MIX)
    page.check("#mix-of-cam0")
    page.check("#mix-of-cam1")
    page.select_option('#page [data-field="size"] select', f"{WIDTH}x{HEIGHT}")
    page.get_by_role("button", name="Make the mix").click()
    page.wait_for_url(f"**/#/mixes/{MIX}")
    expect(page.locator('.mix-screen[data-picture="playing"]')).to_be_visible()
    expect(page.locator('.mix-input[data-input="cam1"] .chip')).to_have_text("live")
    expect(page.locator(".mix-under .mix-figures")).to_contain_text("0 restarts")
    assert picture(mesh)[120:240, 330:].mean() > LIT_LEVEL, "the second one is at the right"

    # In free a box is where it is put: with the mouse, on the grid, what is seen follows.
    page.get_by_role("button", name="Free", exact=True).click()
    right = page.locator('.mix-box[data-box="cam1"]')
    expect(right).to_have_attribute("data-movable", "")
    page.evaluate("() => performance.clearResourceTimings()")
    drag(page, '.mix-box[data-box="cam1"]', (-203, 61), steps=40)
    expect(right).to_have_attribute("aria-label", "cam1: 320 by 360 at 120, 64")
    drag(page, '.mix-box[data-box="cam1"]', (-160, -180), corner=True)
    right.press("ArrowDown")
    right.press("Shift+ArrowRight")
    expect(right).to_have_attribute("aria-label", "cam1: 168 by 184 at 120, 72")
    wanted = {"x": 120, "y": 72, "width": 168, "height": 184}
    mesh.wait_for(lambda: spec_of(mesh)["inputs"][1]["box"] == wanted, what="the last place is sent")
    mesh.wait_for(lambda: picture(mesh)[:, 330:].mean() < DARK_LEVEL, what="nothing is left at the right")
    assert picture(mesh)[140:190, 125:280].mean() > LIT_LEVEL
    sent_ms = page.evaluate(UPDATES_SENT)
    assert len(sent_ms) >= 2
    assert min(np.diff(sent_ms)) / 1e3 >= SEND_EVERY_SECONDS - EARLY_SECONDS, "at most five times a second"

    page.get_by_role("button", name="Mute cam1").click()
    page.locator('[data-input="cam1"] .mix-input-name').click()
    page.get_by_role("button", name="Add a clock").click()
    expect(page.locator('.mix-box[data-kind="text"]')).to_have_count(1)
    page.get_by_label("Opacity of text 1").press("Home")
    mesh.wait_for(lambda: spec_of(mesh).get("texts", [{}])[0].get("opacity") == 0, what="the clock is sent")
    assert spec_of(mesh)["inputs"][1]["muted"] is True
    looks_well(page, "mix")
    others_change_it_too(mesh, page)
    what_cannot_be_is_told(mesh, page)

    page.get_by_role("link", name="Back to all mixes").click()
    expect(page.locator(f'.mix-card[data-mix="{MIX}"] .mix-screen[data-picture="playing"]')).to_be_visible()
    expect(page.locator(".mix-input-chips")).to_contain_text("cam1 · live · muted")
    looks_well(page, "mixes")
    who_may_not_has_no_buttons(mesh, page)
    page.get_by_role("button", name=f"Delete {MIX}").click()
    page.get_by_role("dialog", name=f"Delete the mix {MIX}?").get_by_role("button", name="Delete").click()
    expect(page.locator(".mix-card")).to_have_count(0)
    expect(page.locator(".lesson")).to_be_visible()
    assert mesh.call("cloud-mix-proxy.list")["mixes"] == []
    # Browsers tell of answers too: of updates that were refused, of a picture that ended with its mix.
    assert [text for text in console.complaints if "Failed to load resource" not in text] == []


def others_change_it_too(mesh: RunningMesh, page: Page) -> None:
    spec = spec_of(mesh)
    mesh.call("cloud-mix-proxy.update", **{**spec, "background": "#102030"})
    expect(page.locator('[data-field="background"] input').first).to_have_value("#102030")  # followed
    # Both at one moment: who is later is told so, and chooses.
    held: list[Any] = []
    page.route("**/api/cmd/cloud-mix-proxy.update", lambda route: held.append(route), times=1)  # noqa: PLW0108
    page.locator('.mix-box[data-box="cam0"]').press("ArrowRight")

    def is_held() -> bool:
        page.wait_for_timeout(20)  # requests are told of while something is waited for
        return bool(held)

    mesh.wait_for(is_held, what="the page's update")
    mesh.call("cloud-mix-proxy.update", **{**spec, "background": "#302010"})
    held[0].continue_()
    problem = page.locator(".mix-problem")
    expect(problem).to_contain_text("Somebody else has changed this mix meanwhile.")
    problem.get_by_role("button", name="Keep mine").click()
    mesh.wait_for(lambda: spec_of(mesh)["inputs"][0]["box"]["x"] == 8, what="mine is kept")
    expect(problem).to_be_hidden()


def what_cannot_be_is_told(mesh: RunningMesh, page: Page) -> None:
    page.locator("summary", has_text="Add a logo").click()
    page.locator('[data-field="logo"] input').fill("file://logo.txt")
    page.get_by_role("button", name="Add the logo").click()
    problem = page.locator(".mix-problem")
    expect(problem).to_contain_text("use a .png, .jpg, .jpeg or .webp picture")
    problem.get_by_role("button", name="Put it back").click()
    expect(page.locator('.mix-box[data-kind="logo"]')).to_have_count(0)
    assert spec_of(mesh).get("logos", []) == []


def who_may_not_has_no_buttons(mesh: RunningMesh, page: Page) -> None:
    mesh.call("cloud-mix-proxy.create", mix=TASK_MIX, inputs=[{"input": "a", "source": "mesh://cam0"}], size="320x180")
    page.get_by_role("link", name=f"Look at {TASK_MIX}").click()
    expect(page.locator("#page .made")).to_contain_text(f"CloudMix task {TASK_MIX[4:]} has made this mix")
    expect(page.locator('.mix-input[data-input="a"] .chip')).to_have_text("live")
    nothing_to_press(page)
    mesh.call("cloud-mix-proxy.delete", mix=TASK_MIX)
    sign_in(page, mesh, LOOKER)
    page.goto(f"{mesh.console}#/mixes/{MIX}")
    page.reload()
    expect(page.locator("#page .made")).to_contain_text("it needs the right control")
    expect(page.locator('.mix-input[data-input="cam0"] .chip')).to_have_text("live")
    nothing_to_press(page)
    page.goto(f"{mesh.console}#/mixes")
    expect(page.locator(".mix-card")).to_have_count(1)
    assert page.locator("#page button:visible").count() == 0
    sign_in(page, mesh, OPERATOR)
    page.reload()


def nothing_to_press(page: Page) -> None:
    assert page.locator("#page button:visible:not(:disabled):not(.mix-box)").count() == 0
    assert page.locator("#page :is(input, select):visible").count() == 0
    assert page.locator(".mix-box[data-movable]").count() == 0
