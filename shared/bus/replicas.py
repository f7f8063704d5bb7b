"""How many servers of a cluster keep a stream or a bucket."""

import logging

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError

from schemas.errors import InvalidValue

log = logging.getLogger(__name__)

_NO_CLUSTER = 10074  # error codes of JetStream
_NO_PEERS = 10005
_VARIABLE = "FRAMEMESH_NATS_REPLICAS"


class TooFewServers(InvalidValue):
    """The servers that there are cannot keep so many copies."""

    def __init__(self, replicas: int, fix: str, *, may_pass: bool) -> None:
        super().__init__(_VARIABLE, replicas, fix)
        self.may_pass = may_pass
        """The cluster may be starting: its other servers come."""


def too_few_servers(error: APIError, replicas: int) -> TooFewServers | None:
    """What `error` says when it is about the number of servers; else None."""
    if error.err_code == _NO_CLUSTER:
        fix = "this nats-server is of no cluster; set 1, or name the servers of a cluster in FRAMEMESH_NATS_URL"
        return TooFewServers(replicas, fix, may_pass=False)
    if error.err_code == _NO_PEERS:
        fix = "the cluster has fewer servers with JetStream and room; start more of them, or set less"
        return TooFewServers(replicas, fix, may_pass=True)
    return None


async def fit_replicas(jetstream: JetStreamContext, stream: str, replicas: int) -> None:
    """Have `stream` kept by so many servers; never by fewer than it is. Who may not change it leaves it, and says so.

    Raises:
        TooFewServers: there are not so many.
    """
    if replicas == 1:  # what most have, and no question to the server
        return
    config = (await jetstream.stream_info(stream)).config
    there = config.num_replicas or 1
    if there >= replicas:
        return
    try:
        await jetstream.update_stream(config.evolve(num_replicas=replicas))
    except APIError as error:
        raise too_few_servers(error, replicas) or error from None
    except TimeoutError:  # where permissions forbid it nobody answers
        log.warning("%s stays with %d of %d replicas: nobody lets this service change it", stream, there, replicas)
    else:
        log.info("%s is kept by %d servers now, by %d before", stream, replicas, there)


def same_or_raise(error: nats.errors.Error, replicas: int) -> None:
    """Raises: TooFewServers: `error` says so. Any other error at creating means that another service was faster."""
    if isinstance(error, APIError) and (refused := too_few_servers(error, replicas)) is not None:
        raise refused from None
