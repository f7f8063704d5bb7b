"""What may be shown of a URL."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.urls import redact, scrub

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:hunter22@cam.local:554/s1", "rtsp://admin:***@cam.local:554/s1"),
        ("rtsp://admin:p@ss@cam.local/s1", "rtsp://admin:***@cam.local/s1"),
        ("rtsp://admin:p/ss@cam.local/s1", "rtsp://admin:***@cam.local/s1"),
        ("rtsp://admin:p#s?s@cam.local/s1", "rtsp://admin:***@cam.local/s1"),
        ("rtsp://:secret@[fe80::1]:554/", "rtsp://:***@[fe80::1]:554/"),
        ("https://h/live.m3u8?token=abc&x=1", "https://h/live.m3u8?token=***&x=1"),
        (
            "https://h/a?X-Amz-Signature=0f&accessKey=k;API_KEY=z",
            "https://h/a?X-Amz-Signature=***&accessKey=***;API_KEY=***",
        ),
        ("https://h/a?%74oken=abc", "https://h/a?%74oken=***"),
        ("https://h/a#access_token=abc", "https://h/a#access_token=***"),
        (
            "rtsp://10.0.0.9/user=admin&password=hunter2&channel=1&stream=0.sdp?real_stream",
            "rtsp://10.0.0.9/user=admin&password=***&channel=1&stream=0.sdp?real_stream",
        ),
        ("rtsp://h:554/user=admin_password=hun_t3r2_channel=1.sdp", "rtsp://h:554/user=admin_password=***"),
        ("rtsp://h/live/pwd=hun/ter2&channel=1", "rtsp://h/live/pwd=***&channel=1"),
        ("https://h/a?x=1/2&token=ab/cd=_ef==", "https://h/a?x=1/2&token=***"),
        ("nats://s3cr3t-token@127.0.0.1:4222", "nats://***@127.0.0.1:4222"),
        ("nats://mesh:pa55@127.0.0.1:4222", "nats://mesh:***@127.0.0.1:4222"),
        ("srt://h:9000?streamid=publish:cam&passphrase=longenough", "srt://h:9000?streamid=***&passphrase=***"),
        ("srt://h:9?streamid=#!::r=live,u=me&latency=5", "srt://h:9?streamid=***&latency=5"),
        ("https://h/whip?token=a/b?c#d&x=1", "https://h/whip?token=***&x=1"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    assert redact(url) == (shown, True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cam0",
        "rtsp://cam.local/s1",
        "rtsp://admin@cam.local/s1",
        "rtsp://[::1]:554/s1",
        "https://h/picture@2x.mp4?author=me&monkeys=3&design=1",
        "file:///clip.mp4?loop=1",
        "rtsp://cam.local/cam/channel=1&subtype=0",
        "secret://cam0@3",
        "rtsp://admin:***@cam.local/?token=***",
    ],
)
def test_nothing_to_hide(url: str) -> None:
    assert redact(url) == (url, False)


@pytest.mark.parametrize(
    ("url", "shown", "secret"),
    [
        ("rtmp://h/app/key", "rtmp://h/app/***", True),
        ("rtmps://h:443/app/inst/FB-1?s_bl=1&a=Xy", "rtmps://h:443/app/inst/***", True),
        ("rtmp://h/app/key/", "rtmp://h/app/***", True),
        ("rtmp://h/password=x/app/key", "rtmp://h/password=***/***", True),
        ("rtmp://h/app", "rtmp://h/app", False),
        ("rtmp://h/app/***", "rtmp://h/app/***", False),
        ("https://h/app/key", "https://h/app/key", False),
    ],
)
def test_stream_keys(url: str, shown: str, secret: bool) -> None:
    assert redact(url, stream_key=True) == (shown, secret)


def test_a_source_keeps_its_last_segment() -> None:
    assert redact("rtmp://h/app/cam1") == ("rtmp://h/app/cam1", False)


urlish = st.text(alphabet="abrtmp:/?#@[]=&;%*.0159\n \x00é", max_size=60).map(lambda tail: "rtmp://" + tail)


@given(st.one_of(st.text(), urlish), st.booleans())
def test_any_text_is_taken_and_a_second_time_changes_nothing(url: str, stream_key: bool) -> None:
    shown, secret = redact(url, stream_key=stream_key)
    assert secret == (shown != url)
    assert redact(shown, stream_key=stream_key) == (shown, False)
    scrub(url, [url])


# Passwords as people choose them, unescaped. Left out: those that start like a port, `admin:554/x@host`, or hold
# an @ and a slash, because every parser finds a host there; and `*`, because `***` is what a mask looks like.
_CHARACTERS = "abcXYZ019!$^()_+-=:&;%"
password = st.one_of(
    st.text(alphabet=_CHARACTERS + "/?#", min_size=4).filter(lambda text: not re.match(r"\d*[/?#]", text)),
    st.text(alphabet=_CHARACTERS + "@", min_size=4),
)


@given(password)
def test_no_password_survives(value: str) -> None:
    shown, secret = redact(f"rtsp://admin:{value}@camera.local/stream1")
    assert secret
    assert shown.endswith("@camera.local/stream1")
    assert shown.startswith("rtsp://admin:***@")


def test_scrub_finds_the_secret_in_every_form() -> None:
    url = "rtmp://user:p%40ssword@h/app/live_123?k=v"
    text = f"could not open {url}: user 'p@ssword' / p%40ssword, key live_123?k=v; see http://a:b@h/?token=t1"
    clean = scrub(text, [url])
    assert "ssword" not in clean
    assert "live_123" not in clean
    assert "http://a:***@h/?token=***" in clean
    assert clean.startswith("could not open rtmp://user:***@h/app/***:")


def test_scrub_leaves_innocent_text_alone() -> None:
    assert scrub("no such file: a.mp4", ["rtsp://u:a@h/"]) == "no such file: a.mp4"


@pytest.mark.parametrize("piece", ["&", "?a=", "&key=1", "/?", ";key=&"])
def test_a_hostile_url_costs_its_length_only(piece: str) -> None:
    url = "rtsp://h/" + piece * 500_000
    began = time.process_time()
    redact(url, stream_key=True)
    assert time.process_time() - began < 3  # 0.7 s; with its square 6 s and more
