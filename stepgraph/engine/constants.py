"""The two names every graph has without declaring them."""

from typing import Final

START: Final = "__start__"
"""The virtual node from which a graph is entered; its write is the caller's input."""

END: Final = "__end__"
"""The virtual node that ends a branch of a graph."""

RESERVED: Final = (START, END)
