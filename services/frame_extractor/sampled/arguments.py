"""What a sampler is constructed with, as a sampling: which pictures are taken of a video."""

import math
from typing import Any

import msgspec
import numpy as np

from schemas.errors import InvalidValue
from schemas.sampling import SampleMode, Sampling, check_sampling

_MODES: dict[str, SampleMode] = {
    "by_count_uniform": "uniform",
    "by_interval_time": "interval",
    "by_interval_frames": "frames",
    "by_fps": "fps",
    "by_timestamps": "timestamps",
}
# What a mode needs: of a sampling, and of the arguments.
_NEEDS = {
    "uniform": ("count", "count_k"),
    "interval": ("interval_s", "interval_sec"),
    "frames": ("interval_frames", "interval_frames"),
    "fps": ("fps", "target_fps"),
    "timestamps": ("timestamps_s", "timestamps_sec"),
}
_NAMES = {**dict(_NEEDS.values()), "start_s": "start_time_sec", "end_s": "end_time_sec"}


class Arguments:
    """Of one sampler. What other modes need is not looked at."""

    def __init__(self, sample_mode: str, given: dict[str, Any]) -> None:
        """Args:
        given: by the names that callers know.

        Raises:
            ValueError: there is no such mode.
        """
        if sample_mode not in _MODES:
            raise ValueError(f"sample_mode {sample_mode!r}: use one of {', '.join(_MODES)}")
        self._sample_mode = sample_mode
        self._mode = _MODES[sample_mode]
        field, argument = _NEEDS[self._mode]
        self._given = {
            field: given[argument],
            "start_s": given["start_time_sec"],
            "end_s": given["end_time_sec"],
            "max_frames": given["max_frames"],
            "seed": given["seed"],
        }

    def sampling(self, duration_s: float | None = None) -> Sampling:
        """Which pictures are taken of a video of which somebody says that it is that long.

        Raises:
            InvalidValue: names the argument, its value and the fix.
        """
        field, argument = _NEEDS[self._mode]
        if self._given[field] is None:
            raise InvalidValue(argument, None, f"{self._sample_mode} needs it")
        given = {name: _plain(value) for name, value in self._given.items() if value is not None}
        given["start_s"] = max(0.0, _number("start_time_sec", given.get("start_s", 0.0)))
        if "end_s" not in given and duration_s is not None and duration_s > 0:
            given["end_s"] = float(duration_s)
        if field == "timestamps_s":
            given[field] = _timestamps(given[field], given["start_s"])
        try:
            sampling = msgspec.convert({"mode": self._mode, **given}, Sampling)
            check_sampling(sampling)
        except msgspec.ValidationError as error:
            reason, _, where = str(error).partition(" - at `$.")
            name = where.partition("[")[0].strip("`")
            raise InvalidValue(_NAMES.get(name, name), given.get(name), reason) from None
        except InvalidValue as error:
            raise InvalidValue(_NAMES.get(error.field, error.field), error.value, error.fix) from None
        return sampling


def _timestamps(moments: Any, start_s: float) -> list[float]:
    """Sorted, and without those before the start: they are left out anyhow, and a sampling knows nothing before 0."""
    if not isinstance(moments, list):
        raise InvalidValue("timestamps_sec", moments, "give a list of seconds")
    kept = [moment for moment in sorted(_number("timestamps_sec", moment) for moment in moments) if moment >= start_s]
    if not kept:
        raise InvalidValue("timestamps_sec", moments, "give moments from start_time_sec on")
    return kept


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of Python."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidValue(name, value, "use seconds")
    return number
