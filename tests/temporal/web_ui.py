"""What the Web UI shows of a thread."""

from __future__ import annotations

from typing import Any

from tests.conftest import Stage
from tests.temporal.terminal import thread_id


async def details_page(stage: Stage, config: dict[str, Any]) -> str:
    """Return the current details of a thread's open run, which the Web UI shows as Markdown."""
    handle = stage.client.get_workflow_handle(thread_id(config))
    answer = await handle.query("__temporal_workflow_metadata")
    return str(answer.get("currentDetails", "") if isinstance(answer, dict) else answer.current_details)
