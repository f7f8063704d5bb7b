"""Where the pictures of a job go: a place with {index} in it."""

import re
from dataclasses import dataclass
from typing import Final

from schemas.errors import InvalidValue
from schemas.stills import StillFormat
from services.frame_extractor.storage.place import Place, parse_place
from shared.urls import redact

_INDEX_DIGITS: Final = 3  # of a bare {index}; more where the number has more
# Of what may be in braces this is all: anything that str.format knows would let a request ask for 10^9 digits.
_INDEX: Final = re.compile(r"\{index(?::0([0-9]{1,2})d)?\}")
_AUTOEXT: Final = "{autoext}"
# Kinds of pictures that are not written: whoever asks for one by its name would get another one under it.
_NOT_WRITTEN: Final = re.compile(r"\.(avif|bmp|gif|heic|heif|jp2|jxl|ppm|svg|tiff?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """Checked once; then every number has a place."""

    text: str
    file_format: StillFormat

    def path(self, index: int) -> str:
        """The URL of picture `index`, as results name it."""
        text = _INDEX.sub(lambda match: f"{index:0{int(match[1] or _INDEX_DIGITS)}d}", self.text)
        return text.replace(_AUTOEXT, self.file_format)

    def place(self, index: int) -> Place:
        return parse_place(self.path(index), "to")


def parse_template(
    text: str, file_format: StillFormat, field: str = "to", largest_index: int = 999_999_999
) -> PathTemplate:
    """Raises:
    InvalidValue: names `field`, the value and the fix.
    """
    shown = redact(text)[0]
    if not _INDEX.search(text):
        raise InvalidValue(field, shown, "put {index} or {index:06d} into the name, so that every picture has its own")
    if re.search(r"[{}]", _INDEX.sub("0", text).replace(_AUTOEXT, "0")):
        raise InvalidValue(field, shown, "in braces only {index}, {index:0Nd} with N up to 99 and {autoext} are known")
    head, separator, rest = text.partition("://")
    where = rest if head == "file" else rest.partition("/")[0]
    if separator and head != "file" and "{" in where:
        raise InvalidValue(field, shown, "put {index} behind the bucket")
    check_ending(text, file_format, field)
    template = PathTemplate(text, file_format)
    try:
        parse_place(template.path(largest_index), field)
    except InvalidValue as error:
        raise InvalidValue(field, shown, error.fix) from None
    return template


def check_ending(text: str, file_format: StillFormat, field: str) -> None:
    """Whether a name ends as a kind of picture that is never written.

    Raises:
        InvalidValue: names `field`, the value and the fix.
    """
    ending = text[text.rfind(".") :]
    if _NOT_WRITTEN.fullmatch(ending):
        fix = f"no {ending} is written, but jpg, png and webp: end it in .{file_format}, or in .{_AUTOEXT}"
        raise InvalidValue(field, redact(text)[0], fix)
