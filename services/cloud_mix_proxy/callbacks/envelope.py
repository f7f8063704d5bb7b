"""What a callback says: the API's general envelope, with a task in it."""

import hashlib
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from schemas.mix_tasks import CallbackItem
from schemas.units import NS_PER_SECOND

EVENT_TYPE: Final = "cloud_mix_task"
_VALID_SECONDS: Final = 600
"""Until then a receiver shall believe the signature."""


def envelope(item: CallbackItem, key: str, now_s: int) -> bytes:
    """The body of one callback; JSON.

    `sign` is the MD5 of `key` and `t` as the API's rules have it, which proves who knows the key and not what is said;
    use https. It is empty without a key.
    """
    expires = now_s + _VALID_SECONDS
    notice, error = item.notice, item.notice.error
    data: dict[str, Any] = {
        "event_type": EVENT_TYPE,
        "sign": hashlib.md5(f"{key}{expires}".encode(), usedforsecurity=False).hexdigest() if key else "",
        "t": expires,
        "detail": {
            "task_id": item.task,
            "name": item.name,
            "number": notice.number,
            "status": notice.status,
            "source_ids": notice.sources,
            "err_code": error.code if error else 0,
            "err_msg": error.message if error else "",
            "time": datetime.fromtimestamp(notice.at_ns / NS_PER_SECOND, UTC).isoformat(timespec="milliseconds"),
        },
    }
    return msgspec.json.encode({"code": 0, "message": "ok", "data": data})
