"""Versions of a graph's code: small source texts, each in a file of its own, and all in a module of the same name."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from stepgraph.graph.compiled import CompiledGraph

PROLOGUE = """\
import operator
from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

from pydantic import BaseModel, Field

from stepgraph import END, START, StateGraph
from tests.temporal.deployments.gate import gate

"""


@dataclass(frozen=True)
class Code:
    """One version of a graph's code, as the parts in which the versions of the tests differ."""

    state: str = ""
    """The channels, one a line. The channel ``note``, which no change concerns, comes first."""
    defs: str = ""
    """Types, reducers and routers."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """By the node's name: the expression that it returns. The variable ``state`` is the state."""
    edges: Sequence[str] = ("START first second END",)
    """Chains of plain edges, from node to node."""
    joins: Sequence[str] = ()
    """Joins: the sources, and last the target."""
    routers: Mapping[str, str] = field(default_factory=dict)
    """By the source: the name of its router."""
    gated: str = "second"
    """The node that holds (`tests.temporal.deployments.gate`)."""
    options: str = ""
    """Further arguments of ``compile``."""

    def but(self, **parts: Any) -> Code:
        """Return another version, which differs in these parts. Of the nodes, those that are not given stay."""
        if "nodes" in parts:
            nodes = {**self.nodes, **parts["nodes"]}
            parts["nodes"] = {name: returned for name, returned in nodes.items() if returned is not None}
        return replace(self, **parts)

    def text(self, name: str, version: int) -> str:
        """Return the whole source text of a version of the graph."""
        lines = [PROLOGUE, textwrap.dedent(self.defs), "class State(TypedDict):", "    note: str"]
        lines += [f"    {line.strip()}" for line in self.state.splitlines()]
        for node, returned in self.nodes.items():
            holds = [f"    await gate(config, {version})"] if node == self.gated else []
            lines += [f"async def {node}(state, config):", *holds, f"    return {returned}"]
        lines.append("builder = StateGraph(State)")
        lines += [f"builder.add_node({node})" for node in self.nodes]
        for chain in self.edges:
            lines += [f"builder.add_edge({_end(a)}, {_end(b)})" for a, b in pairwise(chain.split())]
        for join in self.joins:
            *sources, target = join.split()
            lines.append(f"builder.add_edge({sources}, {_end(target)})")
        lines += [f"builder.add_conditional_edges({_end(node)}, {name})" for node, name in self.routers.items()]
        return "\n".join([*lines, f"graph = builder.compile(name={name!r}, {self.options})", ""])


def load(name: str, code: Code, version: int, folder: Path) -> CompiledGraph:
    """Return the graph of a version. Its source text is in a file, as a reducer's fingerprint is made from it."""
    path = folder / f"{name}_{version}.py"
    path.write_text(code.text(name, version))
    module = ModuleType(f"deployed_{name}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    graph: CompiledGraph = module.__dict__["graph"]
    return graph


def _end(name: str) -> str:
    return name if name in ("START", "END") else repr(name)
