"""What each layer of the images installs, as files of requirements: `python requirements.py FOLDER LAYER=EXTRA,… …`.

Files of their own, so that a layer is made again where what it installs has changed, and not with every change of
pyproject.toml.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

_OWN_EXTRA = re.compile(r"framemesh\[([a-z0-9,-]+)\]")


def main(folder: Path, layers: list[str]) -> None:
    folder.mkdir()
    for layer in layers:
        name, _, extras = layer.partition("=")
        found = sorted(requirements(filter(None, extras.split(","))))
        (folder / f"{name}.txt").write_text("\n".join([*found, ""]))


def requirements(extras: Iterable[str]) -> set[str]:
    """Of framemesh itself and of these extras, with those that they name in turn."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    found = set(project["dependencies"])
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            own = _OWN_EXTRA.fullmatch(requirement)
            found |= requirements(own[1].split(",")) if own else {requirement}
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
