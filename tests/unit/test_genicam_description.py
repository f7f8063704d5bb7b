"""Descriptions of cameras that would end the process, and ones that would not."""

import pytest

from schemas.errors import Unavailable
from services.capture.genicam.description import check_description, check_places
from tests.support.gige_description import description

CAMERA = "camera Eye"
LOCAL = "Local:eye.zip;10000;1A2B"


def described(*nodes: str) -> bytes:
    return f"<RegisterDescription>{''.join(nodes)}</RegisterDescription>".encode()


def chain(length: int) -> bytes:
    links = (f'<Integer Name="N{number}"><pValue>N{number + 1}</pValue></Integer>' for number in range(length))
    return described(*links, f'<Integer Name="N{length}"><Value>1</Value></Integer>')


def bounds(of_y: str) -> bytes:
    """Width and OffsetX, each bound by a formula of the other."""
    return described(
        '<Integer Name="X"><pValue>XReg</pValue><pMax>XMax</pMax></Integer><IntReg Name="XReg"/>',
        '<Integer Name="Y"><pValue>YReg</pValue><pMax>YMax</pMax></Integer><IntReg Name="YReg"/>',
        '<IntSwissKnife Name="XMax"><pVariable Name="OTHER">Y</pVariable><Formula>9-OTHER</Formula></IntSwissKnife>',
        f'<IntSwissKnife Name="YMax"><pVariable Name="OTHER{of_y}">X</pVariable></IntSwissKnife>',
    )


@pytest.mark.parametrize(
    "xml", [description(), chain(100), bounds(""), description() + b"\0\0\0"], ids=["eye", "chain", "bounds", "padded"]
)
def test_what_cameras_have(xml: bytes) -> None:
    check_description(CAMERA, xml)


DOUBLING = described(
    *(
        f'<IntSwissKnife Name="N{n}"><pVariable Name="A">N{n + 1}</pVariable><pVariable Name="B">N{n + 1}</pVariable>'
        "</IntSwissKnife>"
        for n in range(60)
    )
)


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (b"", "no element found"),
        (b"\x00\xffgarbage<<<", "not well-formed"),
        (description()[:-40], "unclosed token|no element found"),
        (b"<!DOCTYPE a [<!ENTITY b 'cccc'>]><a>&b;</a>", "defines an entity 'b'"),
        (described("<Group>" * 100 + "</Group>" * 100), "more than 64 elements in one another"),
        (described('<Integer Name="A"><pValue>A</pValue></Integer>'), "A is made of itself"),
        (
            described(
                '<Converter Name="A"><pVariable Name="X">B</pVariable></Converter>',
                '<IntReg Name="B"><pIndex pOffset="A">C</pIndex></IntReg>',
            ),
            "[AB] is made of itself",
        ),
        (
            described('<StructReg><pAddress>E</pAddress><StructEntry Name="E"><LSB>1</LSB></StructEntry></StructReg>'),
            "is made of itself",
        ),
        (described('<Float Name="A"><pMin>K</pMin></Float><SwissKnife Name="K"><pVariable Name="A.Min">A</pVariable>'
                   "</SwissKnife>"), "is made of itself"),
        (bounds(".Max").replace(b'"OTHER"', b'"OTHER.Max"'), "is made of itself"),
        (chain(1000), "more than 500 nodes away"),
        (DOUBLING, "more than 1000000 others"),
        (described('<StringReg Name="A"><Length>0x7fffffffffffffff</Length></StringReg>'), "A is of 0x7ffffff"),
        (described('<Register Name="A"><Length> -1 </Length></Register>'), "A is of -1 bytes"),
    ],
)  # fmt: skip
def test_what_no_camera_has(xml: bytes, text: str) -> None:
    with pytest.raises(Unavailable, match=rf"^camera Eye has a description that cannot be used: .*({text})"):
        check_description(CAMERA, xml)


@pytest.mark.parametrize("second", ["", LOCAL, "http://www.example.com/eye.xml"])
@pytest.mark.parametrize("first", [LOCAL, "local:///eye.xml; 0x10000; 0x1a2b?SchemaVersion=1.1.0", "Local:a;0;1000000"])
def test_a_place_in_the_camera(first: str, second: str) -> None:
    check_places(CAMERA, first, second)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("file:///dev/zero", "", "is at 'file:///dev/zero'; only one in the camera is read"),
        ("http://192.0.2.1/eye.xml", LOCAL, "is at 'http://192.0.2.1/eye.xml'"),
        (LOCAL, "File:/etc/passwd", "is at 'File:/etc/passwd'"),
        ("", "", "is at ''"),
        ("Local:eye.xml;10000;7fffffffffffff00", "", "of 9223372036854775552 bytes; at most 16777216 are read"),
        (LOCAL, "Local:eye.xml;10000;7fffffffffffff00", "of 9223372036854775552 bytes; at most 16777216 are read"),
        ("Local:eye.xml;10000;" + "f" * 99, "", "is at 'Local"),
    ],
)
def test_a_place_that_is_not_gone_to(first: str, second: str, text: str) -> None:
    with pytest.raises(Unavailable, match=r"^camera Eye ") as caught:
        check_places(CAMERA, first, second)
    assert text in str(caught.value)
