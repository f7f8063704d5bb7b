"""Addresses of videos and pictures, as people and others write them; accounts, and what they never show."""

import pickle
from pathlib import Path

import pytest

from schemas.errors import InvalidValue, NotFound
from services.frame_extractor.settings import FrameExtractorSettings
from services.frame_extractor.storage import Places, StorageError, StorageSettings, parse_place, parse_template
from services.frame_extractor.storage.accounts import Account, s3_account, tos_account
from services.frame_extractor.storage.spool import NoRoom
from shared.settings import load_settings

SECRET = "hush-hush-secret"


@pytest.mark.parametrize(
    ("text", "index", "path"),
    [
        ("tos://bucket/f_{index}.{autoext}", 0, "tos://bucket/f_000.jpg"),
        ("tos://bucket/f_{index}.{autoext}", 1234, "tos://bucket/f_1234.jpg"),
        ("s3://bucket/{index:06d}/{index}.png", 7, "s3://bucket/000007/007.png"),
        ("s3://bucket/{index:00d}", 7, "s3://bucket/7"),
        ("s3://bucket/a.gif/{index}", 7, "s3://bucket/a.gif/007"),
        ("file://job/{index:04d}.{autoext}", 7, "file://job/0007.jpg"),
        ("file:///a%20b/{index}.jpg", 7, "file:///a%20b/007.jpg"),
    ],
)
def test_every_number_has_a_place(text: str, index: int, path: str) -> None:
    assert parse_template(text, "jpg").path(index) == path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tos://bucket/frame.jpg", "put {index}"),
        ("tos://bucket/{autoext}", "put {index}"),
        ("tos://bucket/{index:0999999999d}.jpg", "put {index}"),
        ("tos://bucket/{index}{index:0100d}", "only {index}"),
        ("tos://bucket/{index:٣d}", "put {index}"),
        ("tos://bucket/{index.__class__}", "put {index}"),
        ("tos://bucket/{index}{index.__class__}", "only {index}"),
        ("tos://bucket/{index}{0}", "only {index}"),
        ("tos://bucket/{index}{", "only {index}"),
        ("tos://bucket/{{index}}", "only {index}"),
        ("tos://bucket/{auto{index}ext}", "only {index}"),
        ("tos://bucket/{index!r}{index}", "only {index}"),
        ("tos://{index}/a", "behind the bucket"),
        ("tos://bucket-{index}/a", "behind the bucket"),
        ("tos:///{index}", "a bucket has"),
        ("tos://bucket/../{index}", "leave out empty parts"),
        ("tos://bucket//{index}", "leave out empty parts"),
        ("tos://bucket/{index}/", "leave out empty parts"),
        ("tos://bucket/{index}/.", "leave out empty parts"),
        ("tos://bucket/a\n{index}", "control characters"),
        ("tos://bucket/\x00{index}", "control characters"),
        ("tos://bucket/\u2028{index}", "control characters"),
        ("tos://bucket/\ud800{index}", "control characters"),
        ("tos://bucket/{index}" + "k" * 1024, "1024 bytes"),
        ("tos://bucket/{index}" + "é" * 512, "1024 bytes"),
        ("tos://UPPER/{index}", "a bucket has"),
        ("tos://a/{index}", "a bucket has"),
        ("tos://" + "b" * 64 + "/{index}", "a bucket has"),
        ("tos://../{index}", "a bucket has"),
        ("tos://key:" + SECRET + "@bucket/{index}", "a bucket has"),
        ("tos://bu cket/{index}", "a bucket has"),
        ("file:///a/%2e%2e/{index}", "leave out empty parts"),
        ("file:///a/..%2f{index}", "leave out empty parts"),
        ("file:///a%00/{index}", "without control characters"),
        ("file:///a%ff/{index}", "UTF-8"),
        ("file://{index}" + "/p" * 2048, "4095 bytes"),
        ("http://host/{index}", "use s3://"),
        ("/folder/{index}", "use s3://"),
        ("s3://bucket/{index}.gif", "no .gif is written, but jpg, png and webp: end it in .jpg, or in .{autoext}"),
        ("file://{index}.TIFF", "no .TIFF is written"),
        ("", "put {index}"),
    ],
)
def test_templates_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidValue, match=r"^to ") as caught:
        parse_template(text, "jpg")
    assert reason in caught.value.message
    assert SECRET not in caught.value.message


def test_keys_are_taken_as_they_are_and_paths_are_unescaped() -> None:
    assert parse_place("s3://bucket/a%20b ~[1]?#é", "to").key == "a%20b ~[1]?#é"
    assert parse_place("file:///a%20b/%C3%A9.jpg", "to").key == "/a b/é.jpg"
    assert len(parse_place("tos://bucket/" + "k" * 1024, "to").key) == 1024


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "http://"),
        ("clip.mp4", "s3://, tos:// and file://"),
        ("ftp://host/clip.mp4", "s3://, tos:// and file://"),
        ("concat:a|b", "s3://, tos:// and file://"),
        ("data:video/mp4;base64,AAAA", "s3://"),
        ("http://", "give a host"),
        ("http://:80/x", "give a host"),
        ("http://host:99999/x", "percent-encoded"),
        ("http://ho st/x", "escape spaces"),
        ("http://host\\@evil/x", "backslashes"),
        ("HTTP//host", "http://"),
        ("tos://bucket", "give a key"),
        ("tos://bucket/", "give a key"),
        ("s3://b/" + "k" * 1025, "a bucket has"),
        ("s3://bucket/" + "k" * 1025, "1024 bytes"),
        ("file://", "give a key"),
        ("file:///media/../etc/passwd", "leave out empty parts"),
        ("file:///media/%2e%2e/%2e%2e/etc/passwd", "leave out empty parts"),
    ],
)
def test_videos_whose_address_is_none(tmp_path: Path, url: str, reason: str) -> None:
    with pytest.raises(StorageError) as caught:
        Places(StorageSettings(data_dir=tmp_path), {}).check_video(url)
    assert caught.value.kind == "url"
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("url", "told"), [("http://127.0.0.1:9/a", True), ("http://10.1.2.3/a", True), ("http://169.254.169.254/a", False)]
)
def test_who_may_not_reach_a_private_network_is_told_what_allows_it(tmp_path: Path, url: str, told: bool) -> None:
    with pytest.raises(StorageError, match="may not be reached from here") as caught:
        Places(StorageSettings(data_dir=tmp_path), {}).open_video(url)
    assert caught.value.kind == "url"
    assert ("FRAMEMESH_FRAME_EXTRACTOR_ALLOW_PRIVATE=true" in caught.value.message) == told


def test_good_addresses_ask_nobody(tmp_path: Path) -> None:
    places = Places(StorageSettings(data_dir=tmp_path), {})
    for url in (
        "http://no-such-host.invalid/a.mp4",
        "https://h/x?sig=1",
        "s3://bucket/key",
        "file:///x/y",
        "tos://bbb/k",
    ):
        places.check_video(url)


def test_s3_by_settings_and_by_the_names_that_others_use() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": SECRET}
    account = s3_account(StorageSettings(), environ)
    assert account is not None
    assert account.endpoint_of("bucket") == ("https://bucket.s3.us-east-1.amazonaws.com", True)
    assert account.endpoint_of("my.bucket") == ("https://s3.us-east-1.amazonaws.com", False)
    assert SECRET not in repr(account)
    own = s3_account(StorageSettings(), {**environ, "AWS_ENDPOINT_URL": "http://minio:9000", "AWS_REGION": "eu-1"})
    assert own is not None
    assert (own.endpoint_of("bucket"), own.region) == (("http://minio:9000", False), "eu-1")
    settings = StorageSettings(s3_endpoint="minio", s3_access_key="a", s3_secret_key="b", s3_path_style=False)
    assert s3_account(settings, {}) == Account("s3", "https://minio", "us-east-1", False, "a", "b")
    assert s3_account(StorageSettings(), {"AWS_ACCESS_KEY_ID": "id"}) is None


def test_tos_speaks_s3_at_an_endpoint_of_its_own() -> None:
    keys = {"ACCESS_KEY": "id", "SECRET_KEY": SECRET}
    for given in (
        "tos-cn-shanghai.volces.com",
        "https://tos-s3-cn-shanghai.volces.com/",
        "https://tos-cn-shanghai.volces.com",
    ):
        account = tos_account(StorageSettings(), {**keys, "TOS_ENDPOINT": given})
        assert account is not None
        assert account.region == "cn-shanghai"
        # TOS knows buckets by host name only.
        assert account.endpoint_of("bucket") == ("https://bucket.tos-s3-cn-shanghai.volces.com", True)
    inside = tos_account(StorageSettings(), {**keys, "TOS_ENDPOINT": "tos-cn-beijing.ivolces.com"})
    assert inside is not None
    assert inside.endpoint == "https://tos-s3-cn-beijing.ivolces.com"
    by_region = tos_account(StorageSettings(), {**keys, "TOS_REGION": "cn-guangzhou"})
    assert by_region is not None
    assert by_region.endpoint == "https://tos-s3-cn-guangzhou.volces.com"
    assert tos_account(StorageSettings(), keys) is None  # ACCESS_KEY alone may be of anything
    assert tos_account(StorageSettings(), {"TOS_REGION": "cn-beijing"}) is None
    with pytest.raises(InvalidValue, match="ACCESS_KEY and SECRET_KEY"):
        tos_account(StorageSettings(), {"TOS_ENDPOINT": "tos-cn-beijing.volces.com"})


@pytest.mark.parametrize("endpoint", ["ftp://x", f"https://a:{SECRET}@host", "https://host/path", "https://", "a b"])
def test_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(InvalidValue, match="s3_endpoint") as caught:
        s3_account(StorageSettings(s3_access_key="a", s3_secret_key="b", s3_endpoint=endpoint), {})
    assert SECRET not in caught.value.message


def test_secrets_come_from_files_and_show_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    account = s3_account(StorageSettings(), {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY_FILE": str(file)})
    assert account is not None
    assert account.secret_key == SECRET
    with pytest.raises(NotFound, match="AWS_SECRET_ACCESS_KEY_FILE"):
        s3_account(StorageSettings(), {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY_FILE": str(tmp_path / "no")})
    environ = {
        "FRAMEMESH_FRAME_EXTRACTOR_S3_SECRET_KEY_FILE": str(file),
        "FRAMEMESH_FRAME_EXTRACTOR_TOS_SESSION_TOKEN": SECRET,
    }
    settings = load_settings(FrameExtractorSettings, "frame-extractor", environ)
    assert settings.s3_secret_key == settings.tos_session_token == SECRET
    assert SECRET not in repr(settings)
    assert "upload_threads=8" in repr(settings)


def test_a_bucket_may_be_a_folder(tmp_path: Path) -> None:
    settings = StorageSettings(data_dir=tmp_path / "data", buckets=(f"mapped={tmp_path / 'elsewhere'}",))
    places = Places(settings, {})
    for template in ("tos://mapped/a/{index}.jpg", "s3://mapped/b/{index}.jpg", "tos://other/c/{index}.jpg"):
        places.check_template(template)
        places.writer(template).write(0, b"x")
        assert places.link(places.writer(template).path(0), 60) is None
        with places.open_picture(places.writer(template).path(0)) as picture:
            assert picture.read() == b"x"
    assert (tmp_path / "elsewhere/a/000.jpg").read_bytes() == b"x"
    assert (tmp_path / "elsewhere/b/000.jpg").read_bytes() == b"x"
    assert (tmp_path / "data/tos/other/c/000.jpg").read_bytes() == b"x"
    with places.open_video("tos://other/c/000.jpg") as video:
        assert (video.path, video.fetched) == (tmp_path / "data/tos/other/c/000.jpg", False)
        assert video.url.shown == "tos://other/c/000.jpg"
    for entry in ("mapped", "mapped=relative", "=/x"):
        with pytest.raises(InvalidValue, match="bucket=/folder"):
            Places(StorageSettings(buckets=(entry,)), {})


def test_a_failure_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(StorageError("download", "gone", may_pass=True)))  # noqa: S301
    assert (error.kind, error.message, error.may_pass, str(error)) == ("download", "gone", True, "gone")
    error = pickle.loads(pickle.dumps(NoRoom("full")))  # noqa: S301
    assert (error.kind, error.message, error.may_pass) == ("download", "full", True)
