"""Commands of cloud-mix-proxy."""

from schemas.channels.building import command
from schemas.channels.parties import LOOKERS, MIXERS
from schemas.mix_resources import MixEntry
from schemas.mix_tasks import ListMixTasks, MixTaskList
from schemas.mixes import CreateMix, DeleteMix, GetMix, ListMixes, MixChanged, MixList, UpdateMix

COMMANDS = (
    command("cloud-mix-proxy", "create", CreateMix, MixChanged, MIXERS, "Make a stream of others."),
    command("cloud-mix-proxy", "update", UpdateMix, MixChanged, MIXERS, "Change a mix while it runs."),
    command("cloud-mix-proxy", "delete", DeleteMix, MixChanged, MIXERS, "End a mix."),
    command("cloud-mix-proxy", "get", GetMix, MixEntry, LOOKERS, "A mix, as asked for and as it is."),
    command("cloud-mix-proxy", "list", ListMixes, MixList, LOOKERS, "Mixes, as asked for and as they are."),
    command("cloud-mix-proxy", "tasks", ListMixTasks, MixTaskList, LOOKERS, "CloudMix tasks, and their callbacks."),
)
