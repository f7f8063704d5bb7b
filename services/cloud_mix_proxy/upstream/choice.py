"""Which tasks go to the cloud."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Final

from schemas.errors import InvalidValue
from schemas.mix_tasks import TaskPlace
from services.cloud_mix_proxy.tasks.settings import TaskSettings

_NOT: Final = "!"


def place_of(settings: TaskSettings) -> Callable[[str], TaskPlace]:
    """Tells the place of a task by its name: the first pattern that fits decides, else the default.

    Raises:
        InvalidValue: a cloud is named whose address or key is not set.
    """
    asked = settings.upstream_default == "cloud" or any(not name.startswith(_NOT) for name in settings.upstream_names)
    if asked and not settings.upstream_url:
        raise InvalidValue("upstream_url", "", "give the address of the cloud that takes tasks")
    if settings.upstream_url and not (settings.upstream_access_key and settings.upstream_secret_key):
        raise InvalidValue("upstream_access_key", "", "give upstream_access_key and upstream_secret_key too")

    def choose(name: str) -> TaskPlace:
        for pattern in settings.upstream_names:
            if fnmatchcase(name, pattern.removeprefix(_NOT)):
                return "local" if pattern.startswith(_NOT) else "cloud"
        return settings.upstream_default

    return choose
