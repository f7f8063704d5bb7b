"""What sources that play a container have in common: they have no settings of pictures, so changing those is easy."""

from schemas.resources import StreamSpec
from services.capture.shaping import only_shaping_changed
from services.capture.sources.base import Source


class ContainerSource(Source):
    """A source whose pictures are what they are; all that is asked of them is done to them afterwards."""

    def adjust(self, spec: StreamSpec) -> bool:
        if not only_shaping_changed(self.spec, spec):
            return False
        self.spec = spec
        return True
