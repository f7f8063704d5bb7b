"""Reading one key of a bucket whose readers may read their own keys only.

Permissions see a request's subject, not its body. Of all ways to ask for one key two have it in the subject: a direct
get, and a consumer with one filter. A direct get answers where the asker says, with what the asker has written, and
nats-server takes that as the asker's word for anything: a bucket created, deleted, written to. So a locked mesh has no
direct gets, and a key is read by a consumer that ends with its one message.
"""

import secrets
from typing import NamedTuple

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.kv import KV_DEL, KV_OP, KV_PURGE

_FORGOTTEN_SECONDS = 1.0  # it has one message, which comes at once
_NAME_BYTES = 8


class OwnKey(NamedTuple):
    value: bytes
    revision: int


async def read_own_key(
    jetstream: JetStreamContext, stream: str, subject: str, revision: int | None, timeout_seconds: float
) -> OwnKey | None:
    """The value that `subject` has in `stream`, or had at `revision`; None: it has none, or had another one then.

    Raises:
        nats.errors.Error, TimeoutError: as of nats-py.
    """
    client = jetstream._nc
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, max_msgs=1)
    try:
        info = await jetstream.add_consumer(
            stream,
            ConsumerConfig(
                name=secrets.token_hex(_NAME_BYTES),
                deliver_subject=inbox,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE if revision else DeliverPolicy.LAST_PER_SUBJECT,
                opt_start_seq=revision,
                filter_subject=subject,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=_FORGOTTEN_SECONDS,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        if not info.num_pending and not (info.delivered and info.delivered.consumer_seq):
            return None
        message = await subscription.next_msg(timeout=timeout_seconds)
    finally:
        if not subscription._closed:
            await subscription.unsubscribe()
    found = message.metadata.sequence.stream
    removed = message.headers is not None and message.headers.get(KV_OP) in (KV_DEL, KV_PURGE)
    return None if removed or (revision and found != revision) else OwnKey(message.data, found)
