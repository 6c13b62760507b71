"""Draws graphs as Mermaid flowcharts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stepgraph.engine.constants import END, START
from stepgraph.engine.spec import GraphSpec


@dataclass(frozen=True)
class Drawing:
    """A graph that can be drawn, as ``graph.get_graph()`` returns it."""

    spec: GraphSpec

    def draw_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart: edges are solid, conditional edges dotted."""
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
                label_text = f"|{_text(label)}|" if label is not None and label != end else ""
                lines.append(f"    {_id(branch.source)} -.->{label_text} {_id(end)}")
        for node in self.spec.nodes:
            for index, end in enumerate(node.ends or ()):
                label_text = f"|{_text(node.end_labels[index])}|" if node.end_labels else ""
                lines.append(f"    {_id(node.name)} -.->{label_text} {_id(end)}")
        return "\n".join(lines) + "\n"


def _id(name: str) -> str:
    """Return a Mermaid id for a node: unique, and none of Mermaid's keywords, such as ``end``."""
    if re.fullmatch(r"\w+", name, flags=re.ASCII):
        return f"n_{name}"
    return "x_" + re.sub(r"\W|_", lambda match: f"_{ord(match.group()):x}_", name, flags=re.ASCII)


def _text(name: str) -> str:
    """Return a name as a quoted Mermaid label, on one line."""
    escaped = " ".join(name.split()).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'"{escaped}"'
