"""Which commands a rule may give: those that people may give, and no others."""

from typing import Final

from schemas.channels import CHANNELS
from schemas.errors import InvalidValue
from schemas.signal_resources import RuleSpec
from schemas.subjects import PREFIX

# Services ask one another for more, which nobody else may: through a rule whoever may make rules would.
_COMMANDS: Final = tuple(
    channel for channel in CHANNELS if channel.semantics == "request-reply" and "cli" in channel.senders
)


def check_commands(spec: RuleSpec, path: str = "") -> None:
    """Refuse what is no command, or none of people.

    Raises:
        InvalidValue: names the field, the command and the fix.
    """
    for number, action in enumerate(spec.do):
        if action.command is None:
            continue
        subject = f"{PREFIX}.cmd.{action.command}"
        if not any(channel.matches(subject) for channel in _COMMANDS):
            service = action.command.partition(".")[0]
            there_are = ", ".join(sorted(one.name for one in _COMMANDS if one.name.startswith(f"{service}.")))
            raise InvalidValue(f"{path}do.{number}.command", action.command, f"no such command; there are {there_are}")
