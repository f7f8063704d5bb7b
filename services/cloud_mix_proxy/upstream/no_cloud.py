"""In the place of a cloud that is not set any more: what it mixes goes on there, and nobody here can ask it."""

from schemas.errors import ErrorInfo, Unavailable
from schemas.mix_tasks import TaskRecord
from services.cloud_mix_proxy.tasks.full_rules import FullRules
from services.cloud_mix_proxy.tasks.place import Refused, Seen

_SAID = "no cloud is set here any more; set upstream_url"


class NoCloud:
    """See `tasks.place.Place`."""

    async def advance(self, record: TaskRecord, full: FullRules) -> Seen:
        raise Refused(ErrorInfo(code=503, message=_SAID))

    async def end(self, record: TaskRecord) -> bool:
        raise Unavailable(_SAID)
