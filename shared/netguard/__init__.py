"""The gate that every URL passes before libav or we open it: what it names, where that leads, whether it may.

`check` parses and resolves, `open_input` opens what was checked and nothing else: addresses stay pinned, redirects
and playlist entries are checked again, local files stay under their roots.
"""

from shared.netguard.errors import NotMedia, OtherFormat, TooLong, explain_av_error
from shared.netguard.guard import check, check_async, check_form, check_literal
from shared.netguard.http_reader import HttpReader, Timeouts
from shared.netguard.interrupt import interruptible
from shared.netguard.kept_body import Keep, KeptBody
from shared.netguard.libav import open_input, protocol_options
from shared.netguard.url import GuardedUrl, Policy

__all__ = [
    "GuardedUrl",
    "HttpReader",
    "Keep",
    "KeptBody",
    "NotMedia",
    "OtherFormat",
    "Policy",
    "Timeouts",
    "TooLong",
    "check",
    "check_async",
    "check_form",
    "check_literal",
    "explain_av_error",
    "interruptible",
    "open_input",
    "protocol_options",
]
