"""What a control takes, and says of what it does not take."""

from typing import Any

import pytest

from schemas.errors import InvalidValue
from schemas.pictures import ControlValue
from services.capture.v4l2 import control_abi as abi
from services.capture.v4l2.control import Control, control_name


def control(kind: int, **changes: Any) -> Control:
    return Control(
        **{
            "id": 1, "name": "it", "type": kind, "minimum": 0, "maximum": 10, "step": 1, "default": 0, "flags": 0,
            "menu": {},
        } | changes
    )  # fmt: skip


FREQUENCY = control(abi.CTRL_TYPE_INTEGER_MENU, menu={0: "50", 3: "60"}, maximum=3)
BITS = control(abi.CTRL_TYPE_BITMASK, maximum=0xFFFF_FFFF)
LONG = control(abi.CTRL_TYPE_INTEGER64, minimum=-(1 << 40), maximum=1 << 40)
STEPPED = control(abi.CTRL_TYPE_INTEGER, minimum=3, maximum=2047, step=4)
TEXT = control(abi.CTRL_TYPE_STRING, minimum=1, maximum=4)
SWITCH = control(abi.CTRL_TYPE_BOOLEAN, maximum=1)


@pytest.mark.parametrize(
    ("it", "value", "raw"),
    [
        (FREQUENCY, "60", 3),
        (FREQUENCY, 0, 0),
        (BITS, 0xFFFF_FFFF, 0xFFFF_FFFF),
        (LONG, -(1 << 40), -(1 << 40)),
        (STEPPED, 7, 7),
        (STEPPED, 7.0, 7),
        (TEXT, "übe", "übe"),
        (SWITCH, True, 1),
        (SWITCH, 0, 0),
    ],
)
def test_values(it: Control, value: ControlValue, raw: int | str) -> None:
    assert it.parse(value) == raw


@pytest.mark.parametrize(
    ("it", "value", "fix"),
    [
        (FREQUENCY, 1, "use one of 50, 60"),
        (FREQUENCY, "70", "use one of 50, 60"),
        (FREQUENCY, True, "use one of 50, 60"),
        (BITS, 1 << 32, "use 0 to 4294967295"),
        (LONG, 10**400, "use -1099511627776 to 1099511627776, step 1"),
        (STEPPED, 5, "use 3 to 2047, step 4"),
        (STEPPED, float("inf"), "use 3 to 2047, step 4"),
        (STEPPED, float("nan"), "use 3 to 2047, step 4"),
        (STEPPED, "7", "use 3 to 2047, step 4"),
        (TEXT, "", "use a text of 1 to 4 bytes"),
        (TEXT, "über", "use a text of 1 to 4 bytes"),
        (TEXT, 3, "use a text of 1 to 4 bytes"),
        (SWITCH, 2, "use true or false"),
        (SWITCH, 1.0, "use true or false"),
        (control(abi.CTRL_TYPE_INTEGER, flags=abi.CTRL_FLAG_READ_ONLY), 1, "it can only be read"),
    ],
)
def test_refusals(it: Control, value: ControlValue, fix: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        it.parse(value)
    assert (caught.value.field, caught.value.fix) == ("controls.it", fix)


def test_names_as_v4l2_ctl_has_them() -> None:
    assert control_name("Exposure Time, Absolute") == "exposure_time_absolute"
    assert control_name("  White Balance (Auto) ") == "white_balance_auto"
    assert control_name("LED1 Mode") == "led1_mode"


def test_as_a_device_control() -> None:
    shown = FREQUENCY.as_device_control(3)
    assert (shown.kind, shown.value, shown.default, shown.options) == ("menu", "60", "50", ("50", "60"))
    assert (shown.minimum, shown.step) == (None, None)
    shown = STEPPED.as_device_control(None)
    assert (shown.value, shown.minimum, shown.maximum, shown.step) == (None, 3, 2047, 4)
