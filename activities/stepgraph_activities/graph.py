"""The one dynamic activity of a worker. What it is given says what it is to do: one task, or super-steps in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from pydantic import ValidationError
from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from stepgraph.code import GraphCode
from stepgraph.fusing import StepsRequest
from stepgraph.nodes import TaskRequest
from stepgraph.payloads import from_raw
from stepgraph_activities.node import NodeActivity
from stepgraph_activities.steps import StepsActivity


class GraphActivity:
    """Everything that graphs have activities for."""

    def __init__(self, graphs: Mapping[str, GraphCode], executor: Executor) -> None:
        self._node = NodeActivity(graphs, executor)
        self._steps = StepsActivity(graphs, executor)

    @activity.defn(dynamic=True)
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """Whichever its type says: ``research.analyze``, ``research.steps``."""
        try:
            request = _request(from_raw(args[0]))
        except (ValidationError, ValueError, IndexError) as error:
            raise ApplicationError(
                f"Activity {activity.info().activity_type!r} is no task of a graph, or comes from another version of "
                "stepgraph.",
                type="UnknownActivity",
                non_retryable=True,
            ) from error
        if isinstance(request, StepsRequest):
            return await self._steps.run(request)
        return await self._node.run(request)


def _request(given: Any) -> TaskRequest | StepsRequest:
    kind = StepsRequest if isinstance(given, Mapping) and "head" in given else TaskRequest
    return kind.model_validate(given)
