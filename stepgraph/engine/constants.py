"""Names that every graph has without declaring them: its two virtual nodes, and the channel of a state of one value."""

from typing import Final

START: Final = "__start__"
"""The virtual node where a graph begins. It writes the caller's input."""

END: Final = "__end__"
"""The virtual node where a branch of a graph ends."""

INPUT: Final = "__input__"
"""LangGraph's author of what a caller writes: by `Command` in place of an input, or by ``update_state`` as an input."""

COPY: Final = "__copy__"
"""LangGraph's author of an update that copies a checkpoint."""

RESERVED: Final = (START, END)
"""Names that no declared node may have."""

ROOT: Final = "__root__"
"""The channel of a state that is one value: ``StateGraph(Annotated[list, operator.add])``."""
