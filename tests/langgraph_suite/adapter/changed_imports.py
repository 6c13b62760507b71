"""Imports such as ``from changed_imports.langgraph.graph import StateGraph``.

Such a module has the names of LangGraph's module, but for those that stepgraph stands in for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PREFIX = "changed_imports"


class ChangedImports(MetaPathFinder, Loader):
    """Finds the modules below `PREFIX`.

    Args:
        names: what stands for a name, whichever module of LangGraph it is imported from.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """Return the spec of a module below `PREFIX`, and `None` for any other."""
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] == PREFIX else None

    def exec_module(self, module: ModuleType) -> None:
        """Give the module the names of LangGraph's module."""
        original = import_module(module.__name__.partition(".")[2]) if "." in module.__name__ else None

        def attribute(name: str) -> Any:
            return self._names[name] if name in self._names else getattr(original, name)

        module.__getattr__ = attribute  # type: ignore[method-assign]  # PEP 562
