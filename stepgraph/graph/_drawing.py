"""Draws graphs as LangGraph does: as Mermaid text, and through LangChain as PNG and ASCII art."""

from __future__ import annotations

import dataclasses
import json
import string
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple

from stepgraph.engine.constants import END, START
from stepgraph.engine.spec import GraphSpec
from stepgraph.graph.drawn_edges import Edge, drawn_edges
from stepgraph.protocol.unsupported import unsupported

STYLES: Final = {
    "default": "fill:#f2f0ff,line-height:1.2",
    "first": "fill-opacity:0",
    "last": "fill:#bfb6fc",
}
"""LangChain's styles of nodes."""

_SHAPES: Final = {"default": "{0}({1})", "first": "{0}([{1}]):::first", "last": "{0}([{1}]):::last"}
_MARKDOWN: Final = ("*", "_", "`")
_SAFE: Final = string.ascii_letters + string.digits + "_-"
_ENTITIES: Final = {
    "#": "#35;",
    "[": "#91;",
    "]": "#93;",
    "(": "#40;",
    ")": "#41;",
    "{": "#123;",
    "}": "#125;",
    '"': "#quot;",
    "<": "#60;",
    ">": "#62;",
    "|": "#124;",
}


class DrawnNode(NamedTuple):
    """A node of a drawing, with the fields of LangChain's."""

    id: str
    name: str
    data: None = None
    metadata: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A graph that can be drawn, as ``graph.get_graph()`` returns it. It has the methods of LangChain's ``Graph``."""

    spec: GraphSpec
    metadata: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """What the author says of each node, in the order in which they were added."""

    @cached_property
    def edges(self) -> list[Edge]:
        """The edges, in order."""
        return drawn_edges(self.spec)

    @cached_property
    def nodes(self) -> dict[str, DrawnNode]:
        """The nodes by id; `END` if an edge leads there."""
        names = dict.fromkeys((START, *self.metadata, *self.spec.node_names))
        if any(edge.target == END for edge in self.edges):
            names[END] = None
        return {name: DrawnNode(name, name, metadata=self._metadata_of(name) or None) for name in names}

    def first_node(self) -> DrawnNode | None:
        """Return the only node to which no edge leads; `None` if there is none, or if there are several."""
        return self._only_node_outside({edge.target for edge in self.edges})

    def last_node(self) -> DrawnNode | None:
        """Return the only node from which no edge leads; `None` if there is none, or if there are several."""
        return self._only_node_outside({edge.source for edge in self.edges})

    def draw_mermaid(
        self,
        *,
        with_styles: bool = True,
        curve_style: Any = "linear",
        node_colors: Any = None,
        wrap_label_n_words: int = 9,
        frontmatter_config: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the graph as a Mermaid flowchart: edges are solid, conditional edges dotted.

        Args:
            with_styles: whether to list the nodes, and to set colours and curves.
            curve_style: the form of the edges: Mermaid's name of it, or LangChain's `CurveStyle`.
            node_colors: LangChain's `NodeStyles`, or a mapping with its keys.
            wrap_label_n_words: the words of a label on one line.
            frontmatter_config: further configuration of Mermaid.
        """
        lines = ["graph TD;"]
        if with_styles:
            lines = ["---", _frontmatter(frontmatter_config, getattr(curve_style, "value", curve_style)), "---", *lines]
            lines += [f"\t{self._node_text(node)}" for node in self.nodes.values()]
        edges = sorted(self.edges, key=lambda edge: edge.source == edge.target)  # LangChain draws loops last
        lines += [f"\t{_edge_text(edge, wrap_label_n_words)}" for edge in edges]
        if with_styles:
            colours = vars(node_colors) if hasattr(node_colors, "__dict__") else node_colors or {}
            lines += [f"\tclassDef {name} {style}" for name, style in {**STYLES, **colours}.items()]
        return "\n".join(lines) + "\n"

    def draw_mermaid_png(self, **options: Any) -> bytes:
        """Return the graph as a PNG image, made by LangChain: it asks mermaid.ink, or a browser here.

        Args:
            options: those of LangChain's ``Graph.draw_mermaid_png``: ``output_file_path``, ``draw_method``, ...

        Raises:
            UnsupportedError: LangChain is not installed.
        """
        png: bytes = self._langchain_graph("draw_mermaid_png").draw_mermaid_png(**options)
        return png

    def draw_png(self, *arguments: Any, **options: Any) -> bytes | None:
        """Return the graph as a PNG image, or write it to a file, by LangChain and Graphviz."""
        png: bytes | None = self._langchain_graph("draw_png").draw_png(*arguments, **options)
        return png

    def draw_ascii(self) -> str:
        """Return the graph as ASCII art, made by LangChain and ``grandalf``."""
        text: str = self._langchain_graph("draw_ascii").draw_ascii()
        return text

    def print_ascii(self) -> None:
        """Print the graph as ASCII art."""
        print(self.draw_ascii())

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return nodes and edges as JSON data."""
        nodes = [{"id": node.id, "metadata": node.metadata} if node.metadata else {"id": node.id} for node in self]
        edges = []
        for edge in self.edges:
            data = {"data": edge.data} if edge.data is not None else {}
            conditional = {"conditional": True} if edge.conditional else {}
            edges.append({"source": edge.source, "target": edge.target, **data, **conditional})
        return {"nodes": nodes, "edges": edges}

    def __iter__(self) -> Any:
        return iter(self.nodes.values())

    def _metadata_of(self, name: str) -> dict[str, Any]:
        """Return what a drawing says of a node: its metadata, whether it is deferred, its breakpoints."""
        said = dict(self.metadata.get(name, {}))
        if not self.spec.has_node(name):
            return said
        if self.spec.node(name).defer:
            said["defer"] = True
        kinds = [("before", self.spec.interrupt_before), ("after", self.spec.interrupt_after)]
        if breaks := [kind for kind, names in kinds if name in names]:
            said["__interrupt"] = ",".join(breaks)
        return said

    def _only_node_outside(self, names: set[str]) -> DrawnNode | None:
        found = [node for name, node in self.nodes.items() if name not in names]
        return found[0] if len(found) == 1 else None

    def _node_text(self, node: DrawnNode) -> str:
        label = (
            f"<p>{node.name}</p>" if node.name.startswith(_MARKDOWN) and node.name.endswith(_MARKDOWN) else node.name
        )
        if lines := _metadata_lines(node.metadata or {}):
            label = f"{label}<hr/><small><em>" + "\n".join(lines) + "</em></small>"
        kind = "last" if node == self.last_node() else "first" if node == self.first_node() else "default"
        return _SHAPES[kind].format(_safe_id(node.id), label)

    def _langchain_graph(self, method: str) -> Any:
        """Return the drawing as LangChain's ``Graph``."""
        try:
            from langchain_core.runnables.graph import Graph
        except ImportError as error:
            mend = "such pictures are LangChain's: pip install 'stepgraph[langgraph]'. draw_mermaid() needs nothing"
            raise unsupported(f"{method} without langchain-core", method, mend) from error
        graph = Graph()
        for node in self.nodes.values():
            graph.add_node(None, node.id, metadata=node.metadata)
        for edge in self.edges:
            graph.add_edge(graph.nodes[edge.source], graph.nodes[edge.target], edge.data, edge.conditional)
        return graph


def _frontmatter(config: Mapping[str, Any] | None, curve: str) -> str:
    """Return Mermaid's configuration as YAML."""
    config = dict(config or {})
    inner = dict(config.get("config", {}))
    whole = {**config, "config": {**inner, "flowchart": {**inner.get("flowchart", {}), "curve": curve}}}
    if whole == {"config": {"flowchart": {"curve": curve}}}:
        return f"config:\n  flowchart:\n    curve: {curve}"
    return json.dumps(whole, indent=2)  # JSON is YAML


def _edge_text(edge: Edge, words_on_a_line: int) -> str:
    arrow = " -.-> " if edge.conditional else " --> "
    if edge.data is not None:
        label, words = edge.data, edge.data.split()
        if len(words) > words_on_a_line:
            parts = [" ".join(words[at : at + words_on_a_line]) for at in range(0, len(words), words_on_a_line)]
            label = "&nbsp<br>&nbsp".join(parts)
        arrow = f" -. &nbsp;{label}&nbsp; .-> " if edge.conditional else f" -- &nbsp;{label}&nbsp; --> "
    return f"{_safe_id(edge.source)}{arrow}{_safe_id(edge.target)};"


def _metadata_lines(metadata: Mapping[str, Any]) -> list[str]:
    """Return a line for each value that is a text or a number, or a list of these."""
    lines = []
    for key, value in metadata.items():
        several = value if isinstance(value, list | tuple | set) else [value]
        if all(isinstance(item, str | int | float | bool) for item in several):
            items = [str(item) for item in several]
            text = ", ".join(sorted(items) if isinstance(value, set) else items)
            lines.append("".join(_ENTITIES.get(char, char) for char in f"{key} = {text}"))
    return lines


def _safe_id(name: str) -> str:
    """Return a Mermaid id for a node: other characters than letters, digits, ``_`` and ``-`` by their number."""
    return "".join(char if char in _SAFE else f"\\{ord(char):x}" for char in name)
