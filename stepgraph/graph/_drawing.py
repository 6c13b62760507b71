"""Drawings of a graph."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stepgraph.engine.constants import END, START
from stepgraph.engine.spec import GraphSpec


@dataclass(frozen=True)
class Drawing:
    """What ``graph.get_graph()`` gives: draws the graph."""

    spec: GraphSpec

    def draw_mermaid(self) -> str:
        """The graph as a Mermaid flowchart: solid edges are taken always, dotted ones when a router says so."""
        lines = ["flowchart TD", f"    {_id(START)}([start])"]
        lines += [f"    {_id(name)}[{_text(name)}]" for name in self.spec.node_names]
        lines.append(f"    {_id(END)}([end])")
        lines += [f"    {_id(source)} --> {_id(target)}" for source, target in self.spec.edges]
        for join in self.spec.joins:
            lines += [f"    {_id(source)} -- all --> {_id(join.target)}" for source in join.sources]
        for branch in self.spec.branches:
            ends = self.spec.destinations(branch)
            for index, end in enumerate(ends):
                label = branch.labels[index] if branch.labels else None
                shown = f"|{_text(label)}|" if label is not None and label != end else ""
                lines.append(f"    {_id(branch.source)} -.->{shown} {_id(end)}")
        return "\n".join(lines) + "\n"


def _id(name: str) -> str:
    """A name that Mermaid takes: its own words, such as ``end``, are not. No two nodes share one."""
    if re.fullmatch(r"\w+", name, flags=re.ASCII):
        return f"n_{name}"
    return "x_" + re.sub(r"\W|_", lambda found: f"_{ord(found.group()):x}_", name, flags=re.ASCII)


def _text(name: str) -> str:
    shown = " ".join(name.split()).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'"{shown}"'
