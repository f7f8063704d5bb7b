"""What a server has sent in place of media, in words that say what to do."""

from typing import Final

from shared.netguard.http_reader import HttpReader
from shared.netguard.kept_body import is_mp4

_MEDIA: Final = ("video/", "audio/", "application/octet-stream", "binary/octet-stream", "application/mp4")


def what_came(reader: HttpReader) -> str:
    """Of a body that libav could not read; empty where nothing more can be said."""
    head = reader.head()
    if not head:
        return "there is nothing in it; put the whole file there"
    if is_mp4(head):
        return "an MP4 without its index (moov), so it is cut off or still being written; put the whole file there"
    kind = reader.content_type
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        kind = "text/html"
    elif not kind or kind.startswith(_MEDIA):
        if not _is_text(head):
            return "what the server sends is damaged, or no media at all; give the address of a video"
        kind = "text"
    return f"the server sends {kind}; give the address of the video itself"


def _is_text(head: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\r\n" for byte in head) and head.isascii()
