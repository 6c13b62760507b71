"""The names of LangGraph that are not public, in one place.

Checked with langgraph 1.2.22. If an upgrade removes one of them, the import fails here;
``tests/langgraph/test_private_names.py`` fails if one means something else.
"""

from __future__ import annotations

from typing import Any, Final

from langgraph._internal import _constants
from langgraph._internal._scratchpad import PregelScratchpad
from langgraph.channels import LastValue

__all__ = ["PregelScratchpad"]

SEND: Final = _constants.CONFIG_KEY_SEND
"""The key in a config's ``configurable`` for the function that takes writes."""
READ: Final = _constants.CONFIG_KEY_READ
"""The key for the function that reads channels."""
CALL: Final = _constants.CONFIG_KEY_CALL
"""The key for the function that runs a ``@task``."""
SCRATCHPAD: Final = _constants.CONFIG_KEY_SCRATCHPAD
RUNTIME: Final = _constants.CONFIG_KEY_RUNTIME
TASK_ID: Final = _constants.CONFIG_KEY_TASK_ID
CHECKPOINTER: Final = _constants.CONFIG_KEY_CHECKPOINTER
"""The key for the saver that graphs called inside of a node use."""
RESUMING: Final = _constants.CONFIG_KEY_RESUMING
"""The key that tells these graphs to go on from their checkpoints."""
RESUME_MAP: Final = _constants.CONFIG_KEY_RESUME_MAP
"""The key for the answers to their interrupts."""

SENDS: Final = _constants.TASKS
"""The channel that takes ``Send`` objects."""
BRANCH: Final = "branch:to:"
"""What the name of a channel begins with that triggers a node."""
ROOT: Final = "__root__"
"""The channel of a graph whose state is one value."""
NS_END: Final = _constants.NS_END
"""Stands between a node and its task id in a checkpoint namespace."""

MISSING: Final[Any] = LastValue(int).checkpoint()
"""What a channel without a value has as its checkpoint."""
