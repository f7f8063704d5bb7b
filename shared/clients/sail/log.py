"""This module's log: what fails is told here, as the API raises little."""

import logging
from collections.abc import Coroutine
from typing import Any

from schemas.errors import MeshError

log = logging.getLogger("framemesh.sail")


async def quietly(work: Coroutine[Any, Any, object]) -> None:
    """What cannot be taken away is told; the rest is taken away all the same."""
    try:
        await work
    except MeshError as error:
        log.warning("left in the mesh: %s", error)
