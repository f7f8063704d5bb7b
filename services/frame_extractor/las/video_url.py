"""`video_url`: what can be said of it without asking anybody."""

from typing import Final

from schemas.errors import InvalidValue
from services.frame_extractor.las.failures import URL_INVALID, Refused
from services.frame_extractor.storage.place import parse_place
from shared.netguard import Policy, check_form

FIELD: Final = "data.video_url"
_FORM: Final = Policy(schemes=frozenset(("http", "https")))
_TOS: Final = "tos://"


def check_video_url(url: str) -> None:
    """Whether the host may be asked, and has it, the worker finds out.

    Raises:
        Refused: no URL, or of a scheme that is not taken; the text holds no password.
    """
    try:
        if url.startswith(_TOS):
            parse_place(url, FIELD)
        else:
            check_form(url, _FORM, FIELD)
    except InvalidValue as error:
        fix = error.fix if not error.fix.startswith("only http://") else "use http://, https:// or tos://bucket/key"
        raise Refused(URL_INVALID, InvalidValue(FIELD, error.value, fix).message) from None
