"""A bucket as a server has it: its configuration, and how it is opened, or made where it does not exist."""

from typing import TYPE_CHECKING

from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType

from schemas.buckets import BucketForm
from shared.bus.jetstream_ready import when_jetstream_answers
from shared.bus.kv import Bucket
from shared.bus.replicas import fit_replicas

if TYPE_CHECKING:
    from shared.bus.bus import Bus


async def open_bucket(
    jetstream: JetStreamContext, bus: "Bus", name: str, form: BucketForm, replicas: int = 1
) -> Bucket:
    """Raises:
    InvalidValue: there are fewer servers than `replicas`.
    Unavailable: JetStream does not answer.
    """
    config = bucket_config(name, form, replicas)
    bucket = Bucket(bus, jetstream, config)
    await open_when_answered(bucket, jetstream, config)
    return bucket


def bucket_config(name: str, form: BucketForm, replicas: int) -> KeyValueConfig:
    return KeyValueConfig(
        bucket=name,
        history=form.history,
        ttl=form.ttl_seconds,
        storage=StorageType.MEMORY if form.memory else StorageType.FILE,
        max_bytes=form.max_bytes,
        direct=form.direct,
        replicas=replicas,
    )


async def open_when_answered(bucket: Bucket, jetstream: JetStreamContext, config: KeyValueConfig) -> None:
    """Raises: as `open_bucket`."""

    async def open_it() -> None:
        await bucket.open()
        await fit_replicas(jetstream, f"KV_{config.bucket}", config.replicas)
        if not config.direct:
            await _end_direct_gets(jetstream, f"KV_{config.bucket}")

    await when_jetstream_answers(config.bucket, open_it, jetstream)


async def _end_direct_gets(jetstream: JetStreamContext, stream: str) -> None:
    """Of a bucket that was made for an open mesh, or by a framemesh that did not know better."""
    config = (await jetstream.stream_info(stream)).config
    if config.allow_direct:
        await jetstream.update_stream(config.evolve(allow_direct=False))
