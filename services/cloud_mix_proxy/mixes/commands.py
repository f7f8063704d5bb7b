"""Commands of mixes; any instance answers them, the mix's node acts."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from schemas.errors import Conflict, NotFound
from schemas.mix_resources import MixEntry, MixSpec
from schemas.mixes import CreateMix, DeleteMix, GetMix, ListMixes, MixChanged, MixList, UpdateMix
from schemas.subjects import command
from services.cloud_mix_proxy.mixes.checks import Checks
from services.cloud_mix_proxy.mixes.parts import Mixes
from services.cloud_mix_proxy.mixes.secrets import SERVICE
from shared.bus import Endpoint
from shared.desired import error_in_reply

RequestT = TypeVar("RequestT", CreateMix, UpdateMix, DeleteMix)


class MixCommands:
    """What tasks ask here directly, and others over the bus."""

    def __init__(self, mixes: Mixes, checks: Checks, of_task: Callable[[str], bool]) -> None:
        """`of_task`: a task that goes on has a mix of this name."""
        self._mixes, self._checks, self._of_task = mixes, checks, of_task

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(SERVICE, "create"), CreateMix, MixChanged, self._of_others(self.create), error_in_reply),
            Endpoint(command(SERVICE, "update"), UpdateMix, MixChanged, self._of_others(self.update), error_in_reply),
            Endpoint(command(SERVICE, "delete"), DeleteMix, MixChanged, self._of_others(self.delete)),
            Endpoint(command(SERVICE, "get"), GetMix, MixEntry, self.get),
            Endpoint(command(SERVICE, "list"), ListMixes, MixList, self.list),
        ]

    async def create(self, request: CreateMix) -> MixChanged:
        """Make a mix.

        Raises:
            InvalidValue, BadRequest: the spec can never work.
            Conflict: it exists already, or a stream of that name does.
            Unavailable: there is nobody on its node to make it.
        """
        if await self._mixes.read(request.mix) is not None:
            raise Conflict(f"mix {request.mix!r} exists already; change it with {SERVICE}.update")
        spec = await self._checks.placed(_spec(request))
        self._checks.refuse_without_owner(spec)
        # Revision 0: of two who create it at once, one is told so.
        change = UpdateMix(**_fields(spec), revision=0, wait_s=request.wait_s)
        return await self._mixes.apply(spec.mix, spec, change, MixChanged)

    async def update(self, request: UpdateMix) -> MixChanged:
        """Change a mix while it runs; what cannot be shown leaves what is seen as it is, and is its error.

        Raises:
            NotFound: there is none of that name.
            InvalidValue, BadRequest: the spec can never work.
            Conflict: stale revision.
        """
        before = await self._mixes.read(request.mix)
        if before is None:
            raise NotFound(f"mix {request.mix!r} does not exist; make it with {SERVICE}.create")
        given = _spec(request)
        if given.sources_secret == before[0].sources_secret:  # of who gives back what was read
            given = msgspec.structs.replace(given, sources_secret="")
        spec = await self._checks.placed(given)
        if spec.node != before[0].node:
            raise Conflict(f"mix {spec.mix!r} is made on node {before[0].node}; delete it, and create it anew")
        return await self._mixes.apply(spec.mix, spec, request, MixChanged)

    async def delete(self, request: DeleteMix) -> MixChanged:
        """End a mix; the streams that were made for it go too.

        Raises:
            NotFound: there is none of that name.
            Conflict: stale revision.
        """
        return await self._mixes.withdraw(request.mix, request, MixChanged)

    def _of_others(
        self, act: Callable[[RequestT], Awaitable[MixChanged]]
    ) -> Callable[[RequestT], Awaitable[MixChanged]]:
        """The command as others have it: a task would have back at once what they change or end of it."""

        async def act_or_refuse(request: RequestT) -> MixChanged:
            if self._of_task(request.mix):
                fix = "change it with UpdateCloudMixTask, end it with DeleteCloudMixTask, by the task's owner"
                raise Conflict(f"mix {request.mix!r} is that of a CloudMix task; {fix}")
            return await act(request)

        return act_or_refuse

    async def get(self, request: GetMix) -> MixEntry:
        """Raises:
        NotFound: there is none of that name.
        """
        found = await self._mixes.find(request.mix)
        if found is None:
            raise NotFound(f"mix {request.mix!r} does not exist; {SERVICE}.list shows what does")
        return MixEntry(revision=found[1], spec=found[0], actual=self._mixes.state_shown(request.mix))

    async def list(self, _request: ListMixes) -> MixList:
        """Every mix of the mesh."""
        return MixList(
            mixes=tuple(
                MixEntry(revision=revision, spec=spec, actual=actual)
                for _, spec, revision, actual in self._mixes.shown()
            )
        )


def _spec(request: MixSpec) -> MixSpec:
    return MixSpec(**_fields(request))


def _fields(spec: MixSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in MixSpec.__struct_fields__}
