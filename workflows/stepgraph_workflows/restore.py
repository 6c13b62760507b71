"""The beginning of a run: its arguments, and its thread as the run before left it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from stepgraph.engine.record import Record, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import GraphMismatchError, InvalidInputError, UnknownFormatError
from stepgraph.protocol.opening import Opening
from stepgraph.protocol.start_options import StartOptions
from stepgraph.serde.error_text import first_line
from stepgraph.temporal.payloads import from_raw


def parse_arguments(args: Sequence[RawValue]) -> tuple[Any, StartOptions]:
    """Return the input and the options of a run. Both may be missing in a start made by hand.

    Raises:
        InvalidInputError: an argument is not JSON, or the options have an unknown shape.
    """
    try:
        input_data, options, *_ = [*(from_raw(arg) for arg in args), None, None]
        return input_data, StartOptions.model_validate(options or {})
    except (ValueError, UnknownFormatError) as error:  # pydantic's, too
        raise InvalidInputError(
            f"A run takes an input (a JSON object, or null to resume) and, optionally, options: {first_line(error)}."
        ) from error


def restore_thread(opening: Opening) -> Thread:
    """Build the thread from what `open_thread` returned.

    Raises:
        GraphMismatchError: the thread belongs to another graph.
    """
    info, spec = workflow.info(), opening.spec
    assert spec is not None, "open_thread has found the graph"
    if opening.record is not None and opening.record.graph != spec.name:
        raise GraphMismatchError(
            f"Thread {info.workflow_id!r} belongs to graph {opening.record.graph!r}, not to {spec.name!r}. "
            "Use another thread id.",
            thread_id=info.workflow_id,
            graph=spec.name,
            thread_graph=opening.record.graph,
        )
    return thread_from(
        opening.record,
        spec,
        thread_id=info.workflow_id,
        run_id=info.run_id,
        clock=lambda: workflow.now().isoformat(),
        uses_external_storage=opening.settings.uses_external_storage,
    )


def without_values(record: Record | None) -> Record | None:
    """Return a restored record without its values: the thread has them, and an open run keeps as little as it can."""
    return None if record is None else record.model_copy(update={"values": {}, "pending_values": {}, "results": {}})
