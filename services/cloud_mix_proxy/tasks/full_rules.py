"""A task's rules as they were asked for, with all that is secret in their addresses, and as they may be shown."""

from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from schemas.cloud_mix import MixedRules
from schemas.mix_tasks import TaskRecord
from services.cloud_mix_proxy.tasks.push_address import shown
from shared.bus import Bus
from shared.secret_store import forget_secrets, keep_secret, read_secret

SERVICE: Final = "cloud-mix-proxy"


class FullRules(Struct, frozen=True):
    rules: MixedRules
    """Without a callback, which is not changed by an update."""
    callback_url: str


def as_shown(full: FullRules) -> FullRules:
    """The same without passwords, stream keys and tokens."""
    rules = full.rules
    return FullRules(
        replace(
            rules,
            input_source=tuple(replace(one, url=shown(one.url)) for one in rules.input_source),
            input_layout=replace(
                rules.input_layout,
                logo=tuple(replace(one, url=shown(one.url)) for one in rules.input_layout.logo),
            ),
            output=replace(rules.output, url=tuple(map(shown, rules.output.url))),
        ),
        shown(full.callback_url),
    )


async def seal(bus: Bus, task: str, full: FullRules, before: str = "") -> tuple[FullRules, str]:
    """The rules as they may be shown, and a reference to the full ones where that is not the same.

    `before`: the reference of the rules that are replaced. A task that has one keeps having one: by that it is known
    that there is something to forget.

    Raises:
        Unavailable: the bus did not take it in time.
    """
    seen = as_shown(full)
    if seen == full and not before:
        return seen, ""
    return seen, await keep_secret(bus, SERVICE, _resource(task), msgspec.json.encode(full).decode())


async def unseal(bus: Bus, record: TaskRecord) -> FullRules:
    """Raises:
    NotFound: the secret was removed.
    Unavailable: the bus does not answer.
    """
    if not record.rules_secret:
        return FullRules(record.rules, record.callback_url)
    return msgspec.json.decode(await read_secret(bus, record.rules_secret), type=FullRules)


async def forget(bus: Bus, record: TaskRecord) -> None:
    """Also what an update that came too late has left: of a task that is done there is none any more.

    Raises:
        Unavailable: the bus did not take it in time.
    """
    if record.rules_secret:
        await forget_task(bus, record.task)


async def forget_task(bus: Bus, task: str) -> None:
    """What there is of one whose record is not there, or does not tell.

    Raises:
        Unavailable: the bus did not take it in time.
    """
    await forget_secrets(bus, SERVICE, _resource(task))


def _resource(task: str) -> str:
    return f"task-{task}"
