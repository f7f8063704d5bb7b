"""Which values of inputs go with which picture."""

from schemas.picture_values import LIFE_SECONDS, PictureValue
from services.capture.attached_values import AttachedValues
from shared.ring.slot import NO_METADATA


def told(name: str, value: int | float | str | bool | None, at_ns: int) -> PictureValue:
    return PictureValue(name=name, value=value, at_ns=at_ns)


def test_a_picture_has_the_newest_value_of_before_its_capture() -> None:
    values = AttachedValues()
    for at_ns in range(100, 200, 10):
        values.take((told("position", at_ns * 2, at_ns),))
    assert values.beside(NO_METADATA, 155) == {"position": 300}
    assert values.beside(NO_METADATA, 160) == {"position": 320}
    assert values.beside(NO_METADATA, 5_000) == {"position": 380}
    assert values.beside(NO_METADATA, 99) is NO_METADATA


def test_the_cameras_own_names_win() -> None:
    values = AttachedValues()
    values.take((told("count", 7, 1), told("position", 1.5, 1)))
    assert values.beside({"count": 99, "gain": 3}, 2) == {"count": 99, "gain": 3, "position": 1.5}


def test_what_is_withdrawn_or_not_told_any_more_goes_with_none() -> None:
    now = [0.0]
    values = AttachedValues(lambda: now[0])
    values.take((told("position", 1, 10), told("part", "a", 10)))
    values.take((told("part", None, 20),))
    assert values.beside(NO_METADATA, 15) == {"position": 1, "part": "a"}
    assert values.beside(NO_METADATA, 25) == {"position": 1}
    now[0] = LIFE_SECONDS + 0.1
    assert values.beside(NO_METADATA, 25) is NO_METADATA
    values.take((told("position", 1, 10),))
    assert values.beside(NO_METADATA, 25) == {"position": 1}


def test_what_is_told_anew_does_not_push_out_what_was() -> None:
    values = AttachedValues()
    values.take((told("position", 1, 10),))
    values.take((told("position", 2, 20),))
    for _ in range(2_000):
        values.take((told("position", 2, 20),))
    assert values.beside(NO_METADATA, 15) == {"position": 1}


def test_a_clock_that_is_set_back_does_not_stop_values() -> None:
    values = AttachedValues()
    values.take((told("position", 1, 1_000),))
    values.take((told("position", 2, 500),))
    assert values.beside(NO_METADATA, 600) == {"position": 2}


def test_names_and_texts_are_bounded() -> None:
    values = AttachedValues()
    for number in range(100):
        values.take((told(f"name-{number}", "x" * 5_000, 1),))
    found = values.beside(NO_METADATA, 2)
    assert len(found) == 32
    assert "name-99" in found
    assert {len(str(value)) for value in found.values()} == {256}
