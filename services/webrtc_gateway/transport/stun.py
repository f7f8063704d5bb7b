"""Answers STUN binding requests as an ICE-lite agent does (RFC 8445 section 7.3, RFC 8489)."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from aioice import stun

_ROLE_CONFLICT = (487, "Role Conflict")
# A username is two ICE ufrags and a colon, 513 characters at most (RFC 8839 section 5.4).
_MAX_USERNAME_CHARACTERS = 513


@dataclass(frozen=True, slots=True)
class BindingAnswer:
    """What to send back, and what the request proved."""

    reply: bytes
    ufrag: str
    """Our own user fragment, naming the session."""
    use_candidate: bool
    role_conflict: bool


def answer_binding(
    datagram: bytes, address: tuple[str, int], password_of: Callable[[str], str | None]
) -> BindingAnswer | None:
    """The answer to one datagram from `address` (host, port), or None when it deserves none.

    `password_of` maps our user fragment to our password, None when there is no such session. Anything that is
    not a well-formed, authenticated binding request gets silence: an answer would only help a scanner.
    """
    try:
        request = stun.parse_message(datagram)
    except (ValueError, struct.error, IndexError):
        return None
    if request.message_class != stun.Class.REQUEST or request.message_method != stun.Method.BINDING:
        return None
    username = request.attributes.get("USERNAME", "")
    if not username or len(username) > _MAX_USERNAME_CHARACTERS:
        return None
    ufrag = username.partition(":")[0]
    password = password_of(ufrag)
    if password is None or "FINGERPRINT" not in request.attributes:
        return None
    key = password.encode()
    if not request.check_message_integrity(key):
        return None

    # We are lite and so always controlled; a peer that thinks it is controlled too must change its mind.
    role_conflict = "ICE-CONTROLLED" in request.attributes
    reply = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.ERROR if role_conflict else stun.Class.RESPONSE,
        transaction_id=request.transaction_id,
    )
    if role_conflict:
        reply.attributes["ERROR-CODE"] = _ROLE_CONFLICT
    else:
        reply.attributes["XOR-MAPPED-ADDRESS"] = address
    reply.add_message_integrity(key)
    return BindingAnswer(
        reply=bytes(reply),
        ufrag=ufrag,
        use_candidate="USE-CANDIDATE" in request.attributes,
        role_conflict=role_conflict,
    )
