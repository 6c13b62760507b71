"""The demonstration: the examples, run for real, with what there is to see of a failure and a resume."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.markup import escape

from stepgraph.cli import rendering
from stepgraph.cli.graph_loader import load_graphs
from stepgraph.errors import UnknownGraphError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.hosting.session import current
from stepgraph.protocol.snapshot import config_for

PLACES = (Path(__file__).parents[2] / "examples", Path(__file__).parents[1] / "_examples")
"""Where the examples are in a checkout, and in an installed package."""


def run(*, as_json: bool = False) -> None:
    """Runs the demonstration; as JSON, prints only what came of it."""
    rendering.console.quiet = as_json
    server = current().server()
    _show(server)
    threads = {
        "research": _research(*_example("research")),
        "parallel": _parallel(*_example("parallel")),
    }
    if as_json:
        rendering.print_json({"server": server.address, "web_ui": server.web_ui, "threads": threads})
        return
    rendering.heading("Where to look")
    for name, thread in threads.items():
        url = server.thread_url(thread["thread_id"])
        _show(f"{name}: thread {thread['thread_id']}{f'  {url}' if url else ''}")
    if server.kind == "embedded":
        _show("The embedded server stays up for some minutes; its database is kept under .stepgraph/.")
    _show(f"Web UI: {server.web_ui or 'wherever your deployment has it'}")


def _research(graph: CompiledGraph, module: ModuleType) -> dict[str, Any]:
    """The lesson's exercise: the middle one of three nodes fails at first."""
    config = config_for(f"research-{uuid.uuid4().hex[:8]}")
    rendering.heading("research: gather, analyze, report; analyze fails the first time")
    try:
        graph.invoke({"query": "state management"}, config)
    except ConnectionError as error:
        saved = graph.get_state(config)
        _show(f"caught ConnectionError: {error}")
        _show(f"saved sources: {saved.values['sources']}")
        _show(f"next: {saved.next}")
    _show("resume: invoke(None, config)")
    result = graph.invoke(None, config)
    _show(f"result: {result['summary']}")
    history = list(graph.get_state_history(config))
    rendering.show_history(history)
    _show(f"runs of each node: {module.runs}")
    return _outcome(config, module, history)


def _parallel(graph: CompiledGraph, module: ModuleType) -> dict[str, Any]:
    """Two nodes side by side, of which one fails at first."""
    config = config_for(f"parallel-{uuid.uuid4().hex[:8]}")
    rendering.heading("parallel: flights and hotels side by side; hotels fails the first time")
    try:
        graph.invoke({"trip": "Lisbon"}, config)
    except ConnectionError as error:
        saved = graph.get_state(config)
        _show(f"caught ConnectionError: {error}")
        for task in saved.tasks:
            _show(f"  {task.name}: {task.error or task.result}")
        _show(f"next: {saved.next}")
    _show("resume: invoke(None, config)")
    result = graph.invoke(None, config)
    _show(f"result: {result['choice']}")
    _show(f"runs of each node: {module.runs} (flights was not run again)")
    return _outcome(config, module, list(graph.get_state_history(config)))


def _show(what: Any) -> None:
    rendering.say(escape(str(what)))


def _outcome(config: dict[str, Any], module: ModuleType, history: list[Any]) -> dict[str, Any]:
    return {
        "thread_id": config["configurable"]["thread_id"],
        "runs": dict(module.runs),
        "steps": [snapshot.metadata["step"] for snapshot in history],
    }


def _example(name: str) -> tuple[CompiledGraph, ModuleType]:
    for place in PLACES:
        if (place / f"{name}.py").is_file():
            (graph,) = load_graphs([f"{place / name}.py:graph"])
            return graph, sys.modules[name]
    raise UnknownGraphError(f"The example {name!r} is not installed.", graph=name)
