"""Containers of compose: how they are found by their labels, and how one more of a service is made."""

import copy
from typing import Any, Final

from schemas.errors import BadRequest, NotFound
from schemas.fleet import MemberHealth, MemberState
from schemas.service_table import BY_NAME, ServiceEntry
from shared.place import ANY

PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"
NUMBER: Final = "com.docker.compose.container-number"
_ONE_OFF: Final = "com.docker.compose.oneoff"  # of `compose run`
_REPLACES: Final = "com.docker.compose.replace"
_VERSION: Final = "org.opencontainers.image.version"
_ID_CHARACTERS: Final = 12  # of the host name that Docker gives a container
_STATES: Final[dict[str, MemberState]] = {
    "created": "stopped",
    "exited": "stopped",
    "dead": "failed",
    "removing": "stopped",
    "paused": "stopped",
    "restarting": "restarting",
    "running": "running",
}
_HEALTH: Final[dict[str, MemberHealth]] = {"healthy": "ready", "unhealthy": "not-ready"}


class Found:
    """One container, as Docker's `inspect` has it."""

    def __init__(self, inspected: dict[str, Any]) -> None:
        self.inspected = inspected
        labels = inspected["Config"].get("Labels") or {}
        self.id: str = inspected["Id"]
        self.name = str(inspected["Name"]).lstrip("/")
        self.service: str = labels.get(SERVICE, "")
        number = str(labels.get(NUMBER, ""))
        self.number = int(number) if number.isascii() and number.isdigit() else 0
        self.version: str = labels.get(_VERSION, "")

    @property
    def entry(self) -> ServiceEntry:
        return BY_NAME[self.service]

    @property
    def running(self) -> bool:
        return bool(self.inspected["State"].get("Running"))

    @property
    def state(self) -> MemberState:
        return _STATES.get(self.inspected["State"].get("Status", ""), "stopped")

    @property
    def health(self) -> MemberHealth:
        """As its own health check saw it last."""
        return _HEALTH.get((self.inspected["State"].get("Health") or {}).get("Status", ""), "unknown")

    @property
    def starting(self) -> bool:
        """Its health check has not been run, or was not content yet."""
        return self.running and (self.inspected["State"].get("Health") or {}).get("Status") == "starting"

    @property
    def trouble(self) -> str:
        """Why it is not ready, or how it ended."""
        state = self.inspected["State"]
        if state.get("Running"):
            tried = (state.get("Health") or {}).get("Log") or []
            return str(tried[-1].get("Output", "")).strip() if tried and self.health == "not-ready" else ""
        if state.get("Error"):
            return str(state["Error"])
        return f"exit status {state['ExitCode']}" if state.get("ExitCode") else ""

    @property
    def health_check(self) -> list[str]:
        """The command of its own health check; empty: it has none that can be run."""
        test = (self.inspected["Config"].get("Healthcheck") or {}).get("Test") or []
        return list(test[1:]) if test[:1] == ["CMD"] else []


def is_of_service(summary: dict[str, Any]) -> bool:
    """Whether a container, as Docker's list has it, runs a service, and is not of `compose run`."""
    labels = summary.get("Labels") or {}
    return labels.get(SERVICE) in BY_NAME and str(labels.get(_ONE_OFF, "False")).lower() != "true"


def check_shares(found: Found) -> None:
    """Raises: BadRequest: its instances would not share the node's work."""
    environment = dict(item.partition("=")[::2] for item in found.inspected["Config"].get("Env") or ())
    own = f"{found.entry.environment_prefix}INSTANCE"
    if environment.get(own, environment.get("FRAMEMESH_INSTANCE")) != ANY:
        raise BadRequest(
            f"{found.service}: {own} is not {ANY!r} in its container, so another one could not start; set it in "
            "compose.yaml and run docker compose up -d"
        )


def project_of(summaries: list[dict[str, Any]], wish: str) -> str:
    """The project whose services these are.

    Raises:
        NotFound: there is none, or none of that name.
        BadRequest: there are several; names them.
    """
    projects: list[str] = sorted(
        {(one.get("Labels") or {}).get(PROJECT, "") for one in summaries if is_of_service(one)} - {""}
    )
    if wish:
        if wish not in projects:
            known = f"there are {', '.join(projects)}" if projects else "start it with docker compose up -d"
            raise NotFound(f"compose project {wish!r} has no container of framemesh here; {known}")
        return wish
    if not projects:
        raise NotFound("no container of framemesh on this Docker; start them with docker compose up -d")
    if len(projects) > 1:
        raise BadRequest(f"several compose projects run framemesh here: {', '.join(projects)}; say which one")
    return projects[0]


def replica(model: Found, number: int) -> tuple[str, dict[str, Any], dict[str, dict[str, Any]]]:
    """Name, configuration and networks of one more container like `model`, as compose would make it.

    Without the ports of the host that the model has: they are there once. What compose says of it by labels stays, so
    that compose knows it for its own.
    """
    config = copy.deepcopy(model.inspected["Config"])
    labels = config.setdefault("Labels", {})
    labels[NUMBER] = str(number)
    labels.pop(_REPLACES, None)
    short_id = model.id[:_ID_CHARACTERS]
    if config.get("Hostname") == short_id:  # Docker's own choice: the new one gets its own
        config.pop("Hostname")
    config.pop("MacAddress", None)
    host = copy.deepcopy(model.inspected["HostConfig"])
    host["PortBindings"] = {}
    host["PublishAllPorts"] = False
    config["HostConfig"] = host
    networks = {
        network: {
            "Aliases": [alias for alias in endpoint.get("Aliases") or () if alias not in (short_id, model.name)],
            "Links": endpoint.get("Links"),
            "DriverOpts": endpoint.get("DriverOpts"),
        }
        for network, endpoint in (model.inspected["NetworkSettings"].get("Networks") or {}).items()
    }
    # `project-service-1` of compose v2, `project_service_1` of v1.
    joint = "_" if model.name.endswith(f"_{model.number}") else "-"
    stem = model.name.removesuffix(f"{joint}{model.number}")
    return f"{stem}{joint}{number}", config, networks
