"""Grafana's dashboards, made of a few kinds of panels; `python -m ops.generate` writes them as JSON."""

import json
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from ops.dashboards import encoders, jobs_mixes, machines, mesh, stream, viewers
from ops.dashboards.building import Board, build

BOARDS: Final[tuple[Board, ...]] = (
    mesh.BOARD,
    stream.BOARD,
    encoders.BOARD,
    viewers.BOARD,
    jobs_mixes.BOARD,
    machines.BOARD,
)


def documents() -> dict[str, str]:
    """By file name, the text of each dashboard."""
    return {
        f"{board.uid.removeprefix('framemesh-')}.json": json.dumps(
            build(board), cls=JSONEncoder, sort_keys=True, indent=2, ensure_ascii=False
        )
        + "\n"
        for board in BOARDS
    }
