"""Reading mesh.yaml from disk: YAML, and `${NAME}` filled in from the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import BadRequest, NotFound
from schemas.mesh_file import MeshPlan, plan_from_mapping

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_BYTES = 1 << 20  # a mesh of thousands of cameras is smaller


def load_mesh_file(path: Path, environ: Mapping[str, str] | None = None) -> MeshPlan:
    """The plan that the file stands for.

    Raises:
        NotFound: there is no such file, or it uses a variable that is not set.
        BadRequest: it is not YAML, or a field is wrong; names the line or the path.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadRequest(f"{path}: larger than {_MAX_BYTES} bytes; this is no mesh.yaml")
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise BadRequest(f"{path}{where}: not YAML: {getattr(error, 'problem', None) or error}") from None
    return plan_from_mapping(_fill_in(document, os.environ if environ is None else environ, path))


def _fill_in(value: Any, environ: Mapping[str, str], path: Path) -> Any:
    """Variables are filled into strings after parsing, so that a password cannot change the file's structure."""

    def one(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise NotFound(f"{path}: ${{{match[1]}}} is not set in the environment")
        return environ[match[1]]

    if isinstance(value, str):
        return _VARIABLE.sub(one, value)
    if isinstance(value, dict):
        return {key: _fill_in(item, environ, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill_in(item, environ, path) for item in value]
    return value
