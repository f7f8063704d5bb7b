"""Pictures of mixes on disk: what is kept, for how long, and what is not believed."""

import hashlib
from pathlib import Path

import pytest

from schemas.mix_resources import MixSpec
from services.cloud_mix_proxy.mixes.kept_stills import KeptStills
from services.cloud_mix_proxy.mixes.stills import StillFile, known_as
from services.cloud_mix_proxy.settings import CloudMixProxySettings

pytestmark = pytest.mark.unit


def still(text: str) -> StillFile:
    data = text.encode()
    return StillFile(hashlib.sha256(data).hexdigest(), data)


async def test_they_are_read_as_they_were_kept_and_the_others_go(tmp_path: Path) -> None:
    first = {"one": still("a picture"), "two": still("another")}
    await KeptStills(tmp_path / "mixes").keep("wall", first)
    kept = KeptStills(tmp_path / "mixes")  # of a service that starts again
    assert await kept.read("wall") == first
    assert await kept.read("nobody") == {}
    await kept.keep("wall", {"two": still("another")})
    assert await kept.read("wall") == {"two": still("another")}


async def test_what_was_cut_changed_or_half_written_is_left_out(tmp_path: Path) -> None:
    kept = KeptStills(tmp_path)
    await kept.keep("wall", {"one": still("a picture"), "two": still("another")})
    [cut] = (tmp_path / "wall").glob("one-*")
    cut.write_bytes(b"a pict")
    (tmp_path / "wall" / "tmp1234.part").write_bytes(b"half")
    assert await kept.read("wall") == {"two": still("another")}
    await kept.keep("wall", {"two": still("another")})
    assert len(list((tmp_path / "wall").iterdir())) == 1


async def test_there_is_a_bound_for_all_mixes_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = KeptStills(tmp_path, max_bytes=10)
    await kept.keep("wall", {"one": still("123456")})
    await kept.keep("door", {"one": still("123456")})
    assert (len(await kept.read("wall")), len(await kept.read("door"))) == (1, 0)
    assert "10 bytes" in caplog.text
    await kept.keep("wall", {})
    await kept.keep("door", {"one": still("123456")})
    assert len(await kept.read("door")) == 1


async def test_a_disk_that_takes_nothing_is_told_of_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mixes").write_text("a file where the folder shall be")
    kept = KeptStills(tmp_path / "mixes")
    await kept.keep("wall", {"one": still("a picture")})
    assert "pictures of wall are not kept" in caplog.text
    assert await kept.read("wall") == {}


def test_other_rules_make_it_another_picture(tmp_path: Path) -> None:
    url = "http://10.0.0.1/logo.png"
    plain, public = (MixSpec(mix="wall", public_only=only) for only in (False, True))
    settings, closed, elsewhere = (
        CloudMixProxySettings(node="n", allow_private=private, file_roots=roots)
        for private, roots in ((True, ()), (False, ()), (True, (tmp_path,)))
    )
    names = [known_as(url, plain, one) for one in (settings, closed, elsewhere)] + [known_as(url, public, settings)]
    assert len(set(names)) == len(names)
    assert known_as(url, MixSpec(mix="door"), settings) == names[0]
