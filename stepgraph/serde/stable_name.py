"""The name of a class or a function that is the same in every process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def stable_name(definition: Any) -> str:
    """Return the name of a class or a function: the last part of its module's name, and its own qualified name.

    A program's ``__main__`` has another name where a worker imports it, so its file gives the name of the module.
    """
    module = str(getattr(definition, "__module__", ""))  # a method that is written in C has none
    file = getattr(sys.modules.get(module), "__file__", None)
    stem = Path(file).stem if module == "__main__" and file else module.rpartition(".")[2]
    return f"{stem}.{definition.__qualname__}"
