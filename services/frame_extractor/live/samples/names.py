"""Where the pictures of a sample go: names that follow from the frame's identity, parsed by hand.

`str.format` would follow attributes, and a date format of its own could bring separators.
"""

import re
import time
from collections.abc import Mapping
from typing import Final

from schemas.errors import InvalidValue
from schemas.sample_resources import SampleSpec
from services.frame_extractor.storage.place import Place, parse_place
from services.frame_extractor.storage.template import check_ending

_PLACEHOLDER: Final = re.compile(r"\{([a-z]+)(?::([^{}]*))?\}")
# Directives that give digits only.
_START_FORMAT: Final = re.compile(r"(?:%[YmdHMSjy]|[A-Za-z0-9 ._/-])+")
_DEFAULT_START_FORMAT: Final = "%Y%m%d-%H%M%S"
_DIGITS: Final[Mapping[str, int]] = {"Y": 4, "j": 3}
_KNOWN: Final = "{stream}, {sample}, {start:%Y%m%d-%H%M%S}, {epoch}, {sequence} and {autoext}"


class SampleNames:
    """The template of one sample."""

    def __init__(self, spec: SampleSpec) -> None:
        """Raises:
        InvalidValue: names what is wrong with `to`.
        """
        self._spec = spec
        for name, form in _PLACEHOLDER.findall(spec.to):
            if name not in ("stream", "sample", "start", "epoch", "sequence", "autoext") or (form and name != "start"):
                raise InvalidValue("to", spec.to, f"in braces there can be {_KNOWN}")
            if form and not _START_FORMAT.fullmatch(form):
                raise InvalidValue("to", spec.to, "write the time with %Y %m %d %H %M %S %j %y and plain characters")
        if re.search(r"[{}]", _PLACEHOLDER.sub("", spec.to)):
            raise InvalidValue("to", spec.to, f"in braces there can be {_KNOWN}")
        check_ending(spec.to, spec.pictures.format, "to")
        self.place(0, 0, 0)

    def path(self, captured_ns: int, epoch: int, sequence: int) -> str:
        """The URL of a picture."""
        values = {
            "stream": self._spec.stream,
            "sample": self._spec.sample,
            "epoch": str(epoch),
            "sequence": str(sequence),
            "autoext": self._spec.pictures.format,
        }

        def fill(match: re.Match[str]) -> str:
            if match[1] == "start":
                return time.strftime(match[2] or _DEFAULT_START_FORMAT, time.gmtime(captured_ns // 1_000_000_000))
            return values[match[1]]

        return _PLACEHOLDER.sub(fill, self._spec.to)

    def place(self, captured_ns: int, epoch: int, sequence: int) -> Place:
        """Raises: InvalidValue."""
        return parse_place(self.path(captured_ns, epoch, sequence), "to")

    def folder_of(self, path: str) -> str:
        """The folder that all its pictures lie below, of a `path` below a root; empty: the root itself."""
        fixed = self._spec.to.replace("{stream}", self._spec.stream).replace("{sample}", self._spec.sample)
        levels = fixed.count("/", fixed.index("{"))  # from the first part that varies on
        return "/".join(path.split("/")[: -1 - levels])

    def pattern(self) -> re.Pattern[str]:
        """What paths of this sample's pictures match, below `file://` and as they are written there."""
        text, position = "", 0
        for match in _PLACEHOLDER.finditer(self._spec.to):
            text += re.escape(self._spec.to[position : match.start()])
            position = match.end()
            if match[1] == "start":
                text += _of_digits(match[2] or _DEFAULT_START_FORMAT)
            elif match[1] in ("epoch", "sequence"):
                text += r"\d+"
            else:
                text += re.escape(
                    {
                        "stream": self._spec.stream,
                        "sample": self._spec.sample,
                        "autoext": self._spec.pictures.format,
                    }[match[1]]
                )
        return re.compile(text + re.escape(self._spec.to[position:]))


def _of_digits(form: str) -> str:
    return re.sub(
        r"%([A-Za-z])|(.)",
        lambda found: rf"\d{{{_DIGITS.get(found[1], 2)}}}" if found[1] else re.escape(found[2]),
        form,
    )
