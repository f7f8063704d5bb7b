"""What is wrong with a request: the path down to the key, its value, and what is allowed."""

import msgspec
import pytest

from schemas.capture_commands import ConfigureStream
from shared.explain import MAX_ERROR_CHARACTERS, explain_decode_error

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ('{"crop":5}', "profile.crop 5: expected `str | null`, got `int`"),
        ('{"rotate":45}', "profile.rotate 45: use one of 0, 90, 180, 270"),
        ('{"fps":0}', "profile.fps 0: expected `float` > 0.0"),
        (
            '{"controls":{"gain":1,"exposure":[1]}}',
            "profile.controls.exposure […]: expected `bool | int | float | str`",
        ),
        ('{"masks":[{"x":0,"y":0,"width":2,"height":1}]}', "profile.masks[0].width 2: expected `float` <= 1.0"),
        ('{"masks":[{"x":0}]}', "profile.masks[0]: object missing required field `y`; there are x, y, width, height"),
        ('{"exposure":1}', "profile: object contains unknown field `exposure`; there are size, fps, pixel_format"),
        ('{"trigger":1,"crop":"2x2+0+0"}', "profile.trigger 1: expected"),
        ("5", "profile 5: expected `object`, got `int`"),
        ('{"fps":0},"profile":[]', "profile.fps null: expected `float` > 0.0"),  # given twice
    ],
)
def test_the_key_is_named(profile: str, text: str) -> None:
    data = f'{{"profile":{profile}}}'.encode()
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(data, type=ConfigureStream)
    assert explain_decode_error(raised.value, ConfigureStream, data).startswith(text)


def test_no_json_is_told_as_such() -> None:
    with pytest.raises(msgspec.DecodeError) as raised:
        msgspec.json.decode(b'{"profile"', type=ConfigureStream)
    assert explain_decode_error(raised.value, ConfigureStream, b'{"profile"').startswith("not JSON: ")


def test_a_name_of_megabytes_is_cut_and_one_of_several_lines_is_one() -> None:
    data = b'{"' + b"x" * 1_000_000 + b'\\r\\nNats-Service-Error-Code: 200\\u0000":1}'
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(data, type=ConfigureStream)
    told = explain_decode_error(raised.value, ConfigureStream, data)
    assert told.startswith("object contains unknown field `xxx")
    assert "; there are " in told
    assert len(told) <= MAX_ERROR_CHARACTERS
    assert told.isprintable()
