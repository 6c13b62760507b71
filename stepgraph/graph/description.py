"""What a compiled graph says of itself, without running: its name, its drawing, the JSON schemas of what it takes."""

from __future__ import annotations

from typing import Any

from stepgraph.execution.registry import GraphRegistry
from stepgraph.graph._drawing import Drawing
from stepgraph.graph.json_schemas import context_json_schema, schema_name, state_json_schema
from stepgraph.protocol.config import Config


class GraphDescription:
    """The part of `stepgraph.CompiledGraph` that needs no Temporal."""

    registry: GraphRegistry

    @property
    def name(self) -> str:
        """The graph's name, which is the workflow type of its runs."""
        return self.registry.name

    def __repr__(self) -> str:
        return f"<CompiledGraph {self.name!r} of {len(self.registry.nodes)} nodes, spec {self.registry.spec.hash}>"

    @property
    def store(self) -> Any:
        """The store that the graph was compiled with."""
        return self.registry.store

    @property
    def cache(self) -> Any:
        """The cache that the graph was compiled with."""
        return self.registry.cache

    @property
    def context_schema(self) -> Any:
        """The class of the graph's context; `None` if it declares none."""
        return self.registry.schema.context.declared

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the graph's name, or another one, with a suffix as LangGraph writes it."""
        return schema_name(name or self.name, suffix) if suffix else name or self.name

    def get_graph(self, config: Config | None = None, *, xray: int | bool = False) -> Drawing:
        """Return the graph for drawing: ``graph.get_graph().draw_mermaid()``. The arguments have no effect."""
        metadata = {name: node.metadata for name, node in self.registry.nodes.items()}
        return Drawing(self.registry.spec, metadata)

    async def aget_graph(self, config: Config | None = None, *, xray: int | bool = False) -> Drawing:
        """Awaitable version of `get_graph`."""
        return self.get_graph(config, xray=xray)

    def get_input_jsonschema(self, config: Config | None = None) -> dict[str, Any]:
        """Return the JSON schema of an input. The config has no effect."""
        return state_json_schema(self.registry.schema.input_class, self.get_name("input"))

    def get_output_jsonschema(self, config: Config | None = None) -> dict[str, Any]:
        """Return the JSON schema of what `invoke` returns. The config has no effect."""
        return state_json_schema(self.registry.schema.output_class, self.get_name("output"))

    def get_context_jsonschema(self) -> dict[str, Any] | None:
        """Return the JSON schema of the context; `None` if the graph declares none."""
        return context_json_schema(self.context_schema)
