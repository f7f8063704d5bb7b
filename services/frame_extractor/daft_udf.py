"""An operator on columns as a function for Daft's expressions, on its native runner and on Ray."""

from collections.abc import Callable, Mapping
from typing import Any

import daft
import pyarrow as pa
from daft import DataType, Expression, ResourceRequest, Series, col
from daft.expressions import ExpressionsProjection
from daft.functions import to_struct
from daft.recordbatch import RecordBatch
from daft.udf import UDF

from schemas.errors import InvalidValue

_ROWS_AT_ONCE = 1  # a video is work enough for a call, and its pictures memory enough


def las_udf(
    operator: type[Any],
    construct_args: Mapping[str, Any] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory_bytes: int | None = None,
    batch_size: int | None = None,
    concurrency: int | None = None,
) -> Callable[..., Expression]:
    """A function of `video_paths`, `video_binaries`, `video_formats`, `video_durations`: columns, or None.

    Args:
        operator: `VideoFrameSampler`, or a class like it: `return_dtype()` of a row, and `__call__` of the columns
            that makes an Arrow array of structs.
        construct_args: what it is constructed with, in each worker.
        num_cpus: that Daft sets apart for each instance; None: Daft decides.
        num_gpus: the same of graphics cards; the sampler needs none.
        memory_bytes: the same of memory.
        batch_size: videos in one call; None: 1. Pictures of more than one are copied once more.
        concurrency: instances, each in a process of its own; None: calls come from this process, or on Ray from
            that of each node.

    Raises:
        ValueError: what `operator` refuses, and what Daft refuses of the numbers.
    """
    for name, number in (("batch_size", batch_size), ("concurrency", concurrency)):
        if number is not None and number < 1:
            raise InvalidValue(name, number, "use a number from 1 on")
    arguments = dict(construct_args or {})
    operator(**arguments)  # what is wrong with them is told here and now, not by a worker
    row: DataType = operator.return_dtype()
    rows_at_once = batch_size or _ROWS_AT_ONCE

    # Sent to workers by its content; the operator by its name.
    class Instance:
        def __init__(self) -> None:
            self._operator = operator(**arguments)

        @daft.method.batch(return_dtype=row, batch_size=rows_at_once)
        def __call__(
            self,
            video_paths: Any = None,
            video_binaries: Any = None,
            video_formats: Any = None,
            video_durations: Any = None,
        ) -> Series:
            return _column(self._operator(video_paths, video_binaries, video_formats, video_durations), row)

    Instance.__qualname__ = operator.__name__
    if memory_bytes is not None:
        # daft.cls cannot ask for memory; what it takes the place of can.
        return UDF(
            inner=Instance,
            name=operator.__name__,
            return_dtype=row,
            resource_request=ResourceRequest(num_cpus=num_cpus, num_gpus=num_gpus, memory_bytes=memory_bytes),
            batch_size=rows_at_once,
            concurrency=concurrency,
        )
    placed = daft.cls(
        Instance,
        cpus=num_cpus,
        gpus=num_gpus or 0,
        max_concurrency=concurrency,
        name_override=operator.__name__,
    )
    function: Callable[..., Expression] = placed()
    return function


def _column(made: pa.StructArray, row: DataType) -> Series:
    """Without a copy, and each field for itself: of an array that comes whole, a list of timestamps that somebody keeps
    keeps the frames beside it.
    """
    types = row.fields
    fields = {name: Series.from_arrow(made.field(name), name=name, dtype=kind) for name, kind in types.items()}
    whole = to_struct(*(col(name) for name in types))
    return RecordBatch.from_pydict(fields).eval_expression_list(ExpressionsProjection([whole])).get_column(0)
