"""The document of the bus permissions, by party."""

from typing import Any

from shared.permissions import INBOXES, PARTIES, grants

__all__ = ["INBOXES", "PARTIES", "document", "grants"]


def document() -> dict[str, Any]:
    """The generated permissions.json: by user name."""
    return {
        party: {"inbox_prefix": INBOXES[party], "permissions": grant.as_permissions()}
        for party, grant in grants().items()
    }
