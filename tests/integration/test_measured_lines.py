"""Lines whose every arrival is told of, beside those that only report loss and round trips: sooner down, surely up."""

import asyncio
import time
from pathlib import Path

import pytest
from test_thin_lines import FIGURES, FORGET_GAP, Stage, TwoRenditions, stage
from whep_rig import EncodedStream

from services.webrtc_gateway.congestion.ladder import Pace
from services.webrtc_gateway.signalling.offer import TRANSPORT_NUMBER
from tests.support.console import CHROMIUM
from tests.support.impairment import ImpairedLine, Line
from tests.support.pace import slowness

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.alone,
    pytest.mark.long,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
WITHOUT = {"measured": "", "reported": TRANSPORT_NUMBER}
EPISODE_SECONDS, BETWEEN_SECONDS = 10.0, 45.0
SAMPLE_SECONDS = 0.05


def two(main_bps: int, low_bps: int) -> TwoRenditions:
    low = EncodedStream(rendition="low", audio=True, width=320, height=180, bitrate=low_bps, noise=24, key_interval=60)
    return TwoRenditions(audio=True, width=640, height=360, bitrate=main_bps, low=low)


async def episode(on: Stage, name: str) -> dict[str, float]:
    """A line that becomes thin and wide again: the first time to `low`, its queue, the longest gap, and the return."""
    with ImpairedLine(on.rig.transport.port) as line:
        session = await on.join(name, line, WITHOUT[name.partition(" ")[0]])
        await on.until_shown(name, lambda found: found["shown"] >= 60)
        await on.page.evaluate(FORGET_GAP, name)
        line.change(down=Line(rate_bps=700_000, queue_ms=250))
        began, queued_s, down_s = time.monotonic(), [], 0.0
        while (passed := time.monotonic() - began) < EPISODE_SECONDS:
            queued_s.append(line.queued_s)
            if not down_s and on.session(session).rendition == "low":
                down_s = passed
            await asyncio.sleep(SAMPLE_SECONDS)
        found = await on.look(name)
        line.change(down=Line())
        up_s = await on.until(lambda: on.session(session).rendition == "main", 30, f"{name} gets main again")
        await on.page.evaluate("(name) => players[name].pc.close()", name)
    delayed_s = sum(queue > 0.1 for queue in queued_s) / len(queued_s) * EPISODE_SECONDS
    return {"down_s": down_s, "gap_s": found["gapMs"] / 1e3, "over_100_ms_s": delayed_s, "up_s": up_s}


async def test_a_line_that_becomes_thin_is_known_sooner_than_by_its_losses(tmp_path: Path) -> None:
    async with stage(tmp_path, Pace(), two(1_500_000, 400_000)) as on:
        rounds = [{kind: await episode(on, f"{kind} {number}") for kind in WITHOUT} for number in range(2)]
        for one in rounds:
            for kind, figures in one.items():
                print(kind, {name: round(value, 2) for name, value in figures.items()})
        print("probes", on.rig.gateway.counters.probes, on.rig.gateway.counters.drops)
        best = {kind: {key: min(one[kind][key] for one in rounds) for key in rounds[0][kind]} for kind in WITHOUT}
        assert 0 < best["measured"]["down_s"] < 2.0 * slowness()
        assert best["measured"]["down_s"] < best["reported"]["down_s"]
        assert best["measured"]["gap_s"] < best["reported"]["gap_s"]
        assert best["measured"]["up_s"] < 10 * slowness()


async def test_a_line_between_the_renditions_keeps_the_smaller_and_one_that_loses_the_larger(tmp_path: Path) -> None:
    async with stage(tmp_path, Pace(), two(1_000_000, 300_000)) as on:
        port = on.rig.transport.port
        with (
            ImpairedLine(port, Line(rate_bps=850_000, queue_ms=250)) as between,
            ImpairedLine(port, Line(rate_bps=850_000, queue_ms=250)) as reported,
            ImpairedLine(port, Line(rate_bps=4_000_000, loss=0.1, delay_ms=20)) as lossy,
        ):
            ids = {
                "between": await on.join("between", between),
                "reported": await on.join("reported", reported, TRANSPORT_NUMBER),
                "lossy": await on.join("lossy", lossy),
            }
            await asyncio.sleep(BETWEEN_SECONDS)
            infos = {name: on.session(session) for name, session in ids.items()}
            for name, info in infos.items():
                found = await on.look(name)
                print(name, {key: found.get(key) for key in (*FIGURES, "sizes")}, info)
        print(*on.moves, on.rig.gateway.counters.probes, sep="\n")
        assert (infos["between"].rendition, infos["between"].switches) == ("low", 1), "no flapping"
        assert infos["between"].available_bitrate == pytest.approx(850_000, rel=0.25)
        assert (infos["lossy"].rendition, infos["lossy"].switches) == ("main", 0), "the line carries it"
        assert infos["lossy"].fraction_lost > 0.03
