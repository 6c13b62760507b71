"""Methods of LangGraph's compiled graphs that stepgraph has not, with what to do instead."""

from __future__ import annotations

from typing import Final

from stepgraph.protocol.unsupported import unsupported

_STREAMS: Final = "invoke returns the values; GraphClient.astart returns a run whose watch() yields checkpoints"
_SUBGRAPHS: Final = "a graph has no subgraphs yet"
_SCHEMAS: Final = "get_input_jsonschema(), get_output_jsonschema() and get_context_jsonschema() describe a graph"
_RUNNABLE: Final = "a graph is no LangChain Runnable"

MISSING: Final = {
    **dict.fromkeys(("stream", "astream", "stream_events", "astream_events", "astream_log", "stream_mode"), _STREAMS),
    **dict.fromkeys(("get_subgraphs", "aget_subgraphs"), _SUBGRAPHS),
    **dict.fromkeys(("config_schema", "get_config_jsonschema", "get_input_schema", "get_output_schema"), _SCHEMAS),
    **dict.fromkeys(("InputType", "OutputType", "input_schema", "output_schema", "config_specs"), _SCHEMAS),
    **dict.fromkeys(("bind", "pipe", "pick", "assign", "map", "as_tool", "transform", "atransform"), _RUNNABLE),
    **dict.fromkeys(("with_retry", "with_fallbacks", "with_listeners", "with_types", "get_prompts"), _RUNNABLE),
    **dict.fromkeys(("batch_as_completed", "abatch_as_completed"), "batch and abatch return all results"),
    **dict.fromkeys(("clear_cache", "aclear_cache"), "no node has a cache"),
    **dict.fromkeys(("channels", "nodes", "builder", "trigger_to_nodes"), "graph.registry.spec is the graph as data"),
    "step_timeout": "each node has a timeout of its own: add_node(timeout=...)",
}
"""By name, what to know or to do."""


def missing_attribute(name: str) -> AttributeError:
    """Return the error for an attribute that a compiled graph has not."""
    if name not in MISSING:
        return AttributeError(f"'CompiledGraph' object has no attribute {name!r}")
    return AttributeError(unsupported(f"CompiledGraph.{name}", name, MISSING[name]).message)
