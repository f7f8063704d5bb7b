"""What comes from cameras and from those who pretend to be one: read within bounds, or refused."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.capture_commands import PtzRequest
from schemas.errors import InvalidValue, MeshError, Unavailable
from schemas.resources import StreamSpec
from services.capture.onvif import soap, xml
from services.capture.onvif.discovery import read_probe_match
from services.capture.onvif.events import RateLimit, notification
from services.capture.onvif.ptz import check_ptz
from services.capture.sources import check_source

pytestmark = pytest.mark.unit

PIECES = (
    "<Envelope>", "</Envelope>", "<Body>", "</Body>", "<Fault>", "</Fault>", "<Reason>", "</Reason>", "<Text>",
    "</Text>",    "<ProbeMatch>", "</ProbeMatch>", "<XAddrs>http://[::", "</XAddrs>", "<RelatesTo>id</RelatesTo>",
    "<EndpointReference><Address>u</Address></EndpointReference>", "<Types>NetworkVideoTransmitter</Types>",
    "<Scopes>onvif://www.onvif.org/name/%ff%00 x", "</Scopes>", "<NotificationMessage>", "</NotificationMessage>",
    "<Message>", "</Message>", "<Source>", "</Source>", "<SimpleItem/>", "<SimpleItem Name=''/>", "&#1114111;", "&lt;",
)  # fmt: skip
URL = "onvif://admin:hunter22@camera/"
LAUGHS = b"<!DOCTYPE l [" + b'<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "%s">' % (letter, (b"&%c;" % (letter - 1)) * 10) for letter in range(ord("b"), ord("k"))
) + b"]><l>&j;</l>"  # fmt: skip


def fault(code: str, reason: str) -> bytes:
    return (
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Code><e:Value>e:Sender'
        f"</e:Value><e:Subcode><e:Value>ter:{code}</e:Value></e:Subcode></e:Code><e:Reason><e:Text>{reason}</e:Text>"
        "</e:Reason></e:Fault></e:Body></e:Envelope>"
    ).encode()


@pytest.mark.parametrize(
    "document",
    [
        LAUGHS,
        b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><l>&x;</l>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE l [<!ENTITY x "y">]><l>&x;</l>'.encode("utf-16"),
        b'<!DOCTYPE l SYSTEM "http://127.0.0.1/x.dtd"><l/>',
        b"<l>" * 100 + b"</l>" * 100,
        b"<l>" + b"<a/>" * 60_000 + b"</l>",
        b"<l>" + b" " * (xml.MAX_XML_BYTES + 1) + b"</l>",
        b"<l>&nothing;</l>",
        b"<l",
        b"",
        b"\x00\xff",
        b'<?xml version="1.0" encoding="shift_jis"?><l/>',
        b'<?xml version="1.0" encoding="nonsense"?><l/>',
    ],
    ids=[
        "laughs",
        "external",
        "utf-16",
        "dtd",
        "deep",
        "many",
        "large",
        "entity",
        "cut",
        "empty",
        "noise",
        "jis",
        "enc",
    ],
)
def test_hostile_documents_are_refused(document: bytes) -> None:
    with pytest.raises(xml.UnreadableXml):
        xml.parse(document)


def test_elements_are_found_by_local_name() -> None:
    root = xml.parse(b'<a:x xmlns:a="urn:a" xmlns="urn:b"><y k="1"><z> one </z></y><y><w><z>two</z></w></y></a:x>')
    assert xml.local(root) == "x"
    assert xml.text(root, "y", "z") == "one"
    assert xml.text(root, "w", "z") == "two"
    assert xml.text(root, "z", "y") == ""
    assert [xml.text(each, "z") for each in xml.each(root, "y")] == ["one", "two"]


def test_faults_say_why_and_no_secret() -> None:
    with pytest.raises(soap.Fault, match=r"refused \(no \*\*\* today\)") as caught:
        soap.answer(fault("ActionNotSupported", "no hunter22\ntoday"), "source cam", URL)
    assert caught.value.codes == ("Sender", "ActionNotSupported")
    with pytest.raises(soap.NotAuthorized, match="check user name and password") as refused:
        soap.answer(fault("NotAuthorized", "not hunter22"), "source cam", URL)
    assert "hunter22" not in str(refused.value)
    with pytest.raises(soap.Fault) as long:
        soap.answer(fault("X", "y" * 10_000), "source cam", URL)
    assert len(str(long.value)) < 300
    with pytest.raises(Unavailable, match="no SOAP message"):
        soap.answer(b"<html/>", "source cam", URL)


def test_credentials_show_no_password_and_never_the_same_token_twice() -> None:
    credentials = soap.Credentials("a<b", "hunter22")
    assert "hunter22" not in repr(credentials)
    one, two = credentials.header(), credentials.header()
    assert one != two
    assert "hunter22" not in one
    assert "a&lt;b" in one


def test_a_notification_is_bounded() -> None:
    items = "".join(f'<SimpleItem Name="n{number}" Value="{"v" * 500}"/>' for number in range(500))
    message = xml.parse(
        f"<NotificationMessage><Topic>{'t' * 5000}\n</Topic><Message>"
        "<Message UtcTime='now' PropertyOperation='Changed'>"
        f"<Source>{items}</Source><Data><SimpleItem Name='IsMotion' Value='true'/></Data></Message></Message>"
        "</NotificationMessage>".encode()
    )
    said = notification(message)
    assert said["data"] == {"IsMotion": "true"}
    assert (said["time"], said["operation"]) == ("now", "Changed")
    assert len(said["topic"]) == 256
    assert len(said["source"]) == 32
    assert max(map(len, said["source"].values())) == 256
    assert notification(xml.parse(b"<NotificationMessage/>"))["data"] == {}


def test_twenty_a_second() -> None:
    now = 0.0
    limit = RateLimit(20, lambda: now)
    assert sum(limit.admits() for _ in range(1000)) == 20
    now = 0.5
    assert sum(limit.admits() for _ in range(1000)) == 10
    now = 100.0
    assert sum(limit.admits() for _ in range(1000)) == 20


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (PtzRequest(action="move"), "pan 0.0: give a speed"),
        (PtzRequest(action="move", pan=1, duration="31s"), "duration '31s': use more than 0 and at most 30s"),
        (PtzRequest(action="move", pan=1, duration="0s"), "duration '0s'"),
        (PtzRequest(action="move", pan=1, duration="soon"), "duration 'soon'"),
        (PtzRequest(action="go-to", zoom=-0.1), "zoom -0.1"),
        (PtzRequest(action="preset"), "preset ''"),
    ],
)
def test_ptz_that_no_camera_can_do(request_: PtzRequest, says: str) -> None:
    with pytest.raises(InvalidValue, match="^" + re.escape(says)):
        check_ptz(request_)


def test_the_source_url() -> None:
    check_source(StreamSpec(stream="cam0", source="onvif://admin:x@camera.local:8000/Main%20stream"))
    for tail in ("?profile=1", "#1"):
        with pytest.raises(InvalidValue, match="source") as caught:
            check_source(StreamSpec(stream="cam0", source=f"onvif://admin:hunter22@camera/{tail}"))
        assert "hunter22" not in str(caught.value)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(alphabet="<>/&;:'\"= abENVBody?!-[]#x0", max_size=200).map(str.encode),
        st.lists(st.sampled_from(PIECES), max_size=30).map("".join).map(str.encode),
    )
)
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(MeshError):
        body = soap.answer(data, "source cam", URL)
        for message in xml.each(body, "NotificationMessage"):
            notification(message)
    list(read_probe_match(data, "10.0.0.1", "id"))


def test_nothing_of_it_opens_what_it_was_not_told() -> None:
    """No parser and no HTTP client but the bounded ones."""
    for file in Path("services/capture/onvif").glob("*.py"):
        text = file.read_text()
        assert "fromstring" not in text
        assert "urlopen" not in text
