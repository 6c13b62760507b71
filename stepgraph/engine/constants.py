"""The names of the two virtual nodes that every graph has without declaring them."""

from typing import Final

START: Final = "__start__"
"""The virtual node where a graph begins. It writes the caller's input."""

END: Final = "__end__"
"""The virtual node where a branch of a graph ends."""

RESERVED: Final = (START, END)
"""Names that no declared node may have."""
