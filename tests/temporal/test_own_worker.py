"""Graphs in a user's own Temporal set-up: their client, converter, codec and worker, beside their other workflows."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from operator import add, or_
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from stepgraph import END, START, GraphClient, GraphPlugin, StateGraph
from stepgraph.errors import (
    EmptyInputError,
    GraphDefinitionError,
    GraphMismatchError,
    InvalidInputError,
    NodeError,
    RunEndedError,
    StepgraphError,
    UnknownGraphError,
)
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage, has_poller
from tests.patience import PATIENCE, eventually


class Research(TypedDict):
    query: str
    sources: Annotated[list[str], add]
    analysis: str


class Pipeline:
    """A graph of gather and analyze. A test decides whether the next calls of analyze fail, or wait."""

    def __init__(self, name: str = "research") -> None:
        self.name = name
        self.calls: list[str] = []
        self.failures = 0
        self.slow = False
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()

    def graph(self) -> CompiledGraph:
        def gather(state: Research) -> dict[str, Any]:
            self.calls.append("gather")
            return {"sources": [f"{state['query']}.pdf"]}

        async def analyze(state: Research) -> dict[str, Any]:
            self.calls.append("analyze")
            self.started.set()
            if self.slow:
                await self.go_on.wait()
            if self.failures:
                self.failures -= 1
                raise ConnectionError(f"no route to {state['query']}")
            return {"analysis": f"{state['sources'][-1]} agrees"}

        builder = StateGraph(Research).add_node(gather).add_node(analyze)
        builder.add_edge(START, "gather").add_edge("gather", "analyze")
        return builder.add_edge("analyze", END).compile(name=self.name)


FINISHED = {"query": "x", "sources": ["x.pdf"], "analysis": "x.pdf agrees"}


def with_converter(client: Client, converter: DataConverter) -> Client:
    """Return a client on the same connection with another data converter."""
    return Client(**{**client.config(), "data_converter": converter})


@asynccontextmanager
async def stage_of(client: Client) -> AsyncIterator[Stage]:
    """Open a stage for a client; its histories are replayed with the client's converter."""
    stage = Stage(client)
    yield stage
    await stage.replay()


async def steps(client: GraphClient, config: dict[str, Any]) -> list[int]:
    """Return the step of every checkpoint, newest first."""
    return [each.metadata["step"] async for each in client.aget_state_history(config) if each.metadata]


# Beside the user's own workflows and activities


@activity.defn
async def title_of(name: str) -> str:
    """An activity of the user."""
    return name.title()


@workflow.defn
class Letter:
    """A workflow of the user, in the SDK's sandbox, with a graph as its child."""

    @workflow.run
    async def run(self, query: str, thread_id: str) -> str:
        """Run an activity, then the graph."""
        title = await workflow.execute_activity(title_of, query, start_to_close_timeout=timedelta(seconds=PATIENCE))
        record = await workflow.execute_child_workflow("research", {"query": title}, id=thread_id, result_type=dict)
        return f"Dear reader, {record['values']['analysis']}."


async def test_graphs_share_a_worker_with_other_workflows(stage: Stage) -> None:
    """The user's workflows and activities run beside graphs, from a module that imports stepgraph.

    A workflow may have a graph as its child; the child's workflow id is the thread id.
    """
    graph = Pipeline().graph()
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph, workflows=[Letter], activities=[title_of]):
        letter = await stage.client.start_workflow(
            Letter.run, args=["ada", thread_id], id=f"letter-{thread_id}", task_queue=stage.task_queue
        )
        assert await letter.result() == "Dear reader, Ada.pdf agrees."
        assert (await client.aget_state(config)).values["query"] == "Ada"
        assert await steps(client, config) == [3, 2, 1, 0]
        await client.ainvoke({"query": "Bob"}, config)
        assert await steps(client, config) == [7, 6, 5, 4, 3, 2, 1, 0]
    replayer = Replayer(workflows=[Letter], plugins=[GraphPlugin([graph])])
    await replayer.replay_workflow(await letter.fetch_history())


async def test_the_workflow_id_of_another_workflow_is_refused_as_a_thread_id(stage: Stage) -> None:
    """A thread id that another workflow has as its id is refused. The error names the workflow's type."""
    graph = Pipeline().graph()
    client = stage.use(graph)
    async with stage.serving(graph, workflows=[Letter], activities=[title_of]):
        config = stage.thread()
        letter = f"letter-{config['configurable']['thread_id']}"
        await stage.client.execute_workflow(
            Letter.run,
            args=["ada", config["configurable"]["thread_id"]],
            id=letter,
            task_queue=stage.task_queue,
        )
        in_use = {"configurable": {"thread_id": letter}}
        for call in (client.ainvoke({"query": "x"}, in_use), client.ainvoke(None, in_use), client.aget_state(in_use)):
            with pytest.raises(GraphMismatchError, match="belongs to graph 'Letter', not to 'research'"):
                await call


async def test_a_plugin_of_the_client_serves_its_workers(stage: Stage) -> None:
    """With `Client(plugins=[GraphPlugin([...])])`, every worker of that client has the graphs."""
    graph = Pipeline().graph()
    config = stage.thread()
    stage.use(graph)
    own = Client(**{**stage.client.config(), "plugins": [GraphPlugin([graph])]})
    async with Worker(own, task_queue=stage.task_queue):
        await eventually(lambda: has_poller(own, stage.task_queue))
        client = GraphClient(own, "research", task_queue=stage.task_queue)
        assert await client.ainvoke({"query": "x"}, config) == FINISHED


async def test_one_plugin_may_serve_several_workers(stage: Stage) -> None:
    """Every worker made with the plugin serves its graphs, one after the other or at once."""
    pipeline = Pipeline()
    graph = pipeline.graph()
    plugin = GraphPlugin([graph])
    client, config = stage.use(graph), stage.thread()
    for _ in range(2):
        async with (
            Worker(stage.client, task_queue=stage.task_queue, plugins=[plugin]),
            Worker(stage.client, task_queue=f"{stage.task_queue}-2", plugins=[plugin]),
        ):
            await eventually(lambda: has_poller(stage.client, stage.task_queue))
            await eventually(lambda: has_poller(stage.client, f"{stage.task_queue}-2"))
            await client.ainvoke({"query": "x"}, config)
            second = GraphClient(stage.client, "research", task_queue=f"{stage.task_queue}-2")
            await second.ainvoke({"query": "y"}, config)
    assert pipeline.calls == ["gather", "analyze"] * 4


# Converters, codecs, interceptors


async def scenario(stage: Stage, pipeline: Pipeline) -> dict[str, Any]:
    """Take a thread through failure, resume, a further input and termination; read it open and closed.

    Returns the config of the thread.
    """
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    pipeline.failures = 1
    async with stage.serving(graph):
        with pytest.raises(ConnectionError, match="no route to x") as caught:
            await client.ainvoke({"query": "x"}, config)
        assert isinstance(caught.value, NodeError)
        assert "raise ConnectionError" in caught.value.traceback
        failed = await client.aget_state(config)
        assert (failed.values, failed.next) == ({"query": "x", "sources": ["x.pdf"]}, ("analyze",))
        assert failed.tasks[0].error == "ConnectionError('no route to x')"
        assert await client.ainvoke(None, config) == FINISHED
        done = await client.aget_state(config)

        pipeline.slow = True
        pipeline.started.clear()
        run = await client.astart({"query": "y"}, config)
        await eventually(pipeline.started.is_set)
        assert (await client.aget_state(config)).values["sources"] == ["x.pdf", "y.pdf"]
        await stage.client.get_workflow_handle(run.thread_id, run_id=run.run_id).terminate("a test")
        with pytest.raises(RunEndedError):
            await run.result()
        pipeline.slow = False
        pipeline.go_on.set()
        assert (await client.ainvoke(None, config))["analysis"] == "y.pdf agrees"
        assert await steps(client, config) == [7, 6, 5, 4, 3, 2, 1, 0]
        assert await client.aget_state(done.config) == done
    assert (await client.aget_state(config)).values["analysis"] == "y.pdf agrees"  # without a worker
    assert pipeline.calls == ["gather", "analyze", "analyze", "gather", "analyze", "analyze"]
    return config


async def test_graphs_work_with_pydantics_data_converter(stage: Stage) -> None:
    """Values are encoded in the same way, whatever converter the user's workflows need."""
    async with stage_of(with_converter(stage.client, pydantic_data_converter)) as own:
        await scenario(own, Pipeline())


class ScramblingCodec(PayloadCodec):
    """Compresses and scrambles whole payloads, as an encrypting codec would."""

    def __init__(self) -> None:
        self.seen = 0

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        self.seen += len(payloads)
        return [
            Payload(metadata={"encoding": b"binary/scrambled"}, data=_xor(zlib.compress(payload.SerializeToString())))
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(zlib.decompress(_xor(payload.data)))
            if payload.metadata["encoding"] == b"binary/scrambled"
            else payload
            for payload in payloads
        ]


def _xor(data: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in data)


@pytest.mark.parametrize("inline", ["4096", "0"], ids=["state inline", "state by query"])
async def test_an_encrypting_codec_encodes_every_value(
    stage: Stage, inline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State, history, resume and reads of closed threads work, and no event of any run has readable values."""
    monkeypatch.setenv("STEPGRAPH_INLINE_BYTES", inline)
    codec = ScramblingCodec()
    converter = replace(
        DataConverter.default, payload_codec=codec, failure_converter_class=DefaultFailureConverterWithEncodedAttributes
    )
    async with stage_of(with_converter(stage.client, converter)) as own:
        config = await scenario(own, Pipeline())
        events = [event for run in await own.runs(own.threads[0]) for event in (await own.history(run)).events]
        assert len(events) > 40
        for event in events:
            text = event.SerializeToString()
            for secret in (b"x.pdf", b"y.pdf", b"agrees", b"no route", b"Traceback", b"sources", b"query"):
                assert secret not in text, event
        without_codec = GraphClient(stage.client, "research", task_queue=own.task_queue)
        with pytest.raises(StepgraphError, match=r"binary/scrambled'\. If a payload codec made it, this process lacks"):
            await without_codec.aget_state(config)
    assert codec.seen > 40


class RecordingInterceptor(Interceptor):
    """Records the types of activities and workflows, as a tracer would."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        seen = self.seen

        class Inbound(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                seen.append(activity.info().activity_type)
                return await super().execute_activity(input)

        return Inbound(next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        seen = self.seen

        class Inbound(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                seen.append(workflow.info().workflow_type)
                return await super().execute_workflow(input)

        return Inbound


async def test_interceptors_see_graphs_and_nodes_by_name(stage: Stage) -> None:
    """A tracer of the user needs nothing from stepgraph."""
    recording = RecordingInterceptor()
    graph = Pipeline().graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph, interceptors=[recording]):
        await client.ainvoke({"query": "x"}, config)
    assert recording.seen == ["research", "stepgraph.open_thread", "research.gather", "research.analyze"]


# A client without the graph's code


class Mood(Enum):
    CALM = "calm"
    KEEN = "keen"


@dataclass(frozen=True)
class Source:
    title: str
    found: datetime


class Author(BaseModel):
    name: str
    born: datetime | None = None


class Typed(TypedDict):
    sources: Annotated[list[Source], add]
    tags: Annotated[set[str], or_]
    until: datetime
    raw: bytes
    mood: Mood
    pair: tuple[int, str]
    author: Author


NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
TYPED = {
    "sources": [Source("a", NOON), Source("b", NOON)],
    "tags": {"new", "long"},
    "until": NOON + timedelta(microseconds=1),
    "raw": b"\x00\xff",
    "mood": Mood.KEEN,
    "pair": (1, "x"),
    "author": Author(name="Ada", born=NOON),
}


def typed(calls: list[str]) -> CompiledGraph:
    """Return a graph of gather, which writes typed values, and check, which compares them, and fails once."""

    def gather(state: Typed) -> dict[str, Any]:
        calls.append("gather")
        assert state["author"] == TYPED["author"]
        return {"sources": [Source("b", NOON)], "tags": {"long"}, "mood": Mood.KEEN, "raw": b"\x00\xff"}

    def check(state: Typed) -> dict[str, Any]:
        calls.append("check")
        assert state == {**TYPED, "pair": (0, "x")}, state
        if calls.count("check") == 1:
            raise ConnectionError("no route")
        return {"pair": (1, "x")}

    builder = StateGraph(Typed).add_node(gather).add_node(check)
    return builder.add_edge(START, "gather").add_edge("gather", "check").add_edge("check", END).compile(name="typed")


async def test_typed_values_keep_their_types(stage: Stage) -> None:
    """A client with the schema gets typed values from invokes, states and histories; nodes get them, too."""
    calls: list[str] = []
    graph = typed(calls)
    client, config = stage.use(graph), stage.thread()
    input_data = {key: TYPED[key] for key in ("until", "author")}
    input_data |= {"sources": [Source("a", NOON)], "tags": {"new"}, "pair": (0, "x"), "mood": Mood.CALM}
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke(input_data, config)
        assert (await client.aget_state(config)).values == {**TYPED, "pair": (0, "x")}
        assert await client.ainvoke(None, config) == TYPED
        history = [snapshot async for snapshot in client.aget_state_history(config)]
    state = await client.aget_state(config)
    assert state.values == TYPED
    assert type(state.values["sources"][0]) is Source
    assert state == history[0]
    assert [(snapshot.metadata or {})["writes"] for snapshot in history] == [
        {"check": {"pair": (1, "x")}},
        {"gather": {"sources": [Source("b", NOON)], "tags": {"long"}, "mood": Mood.KEEN, "raw": b"\x00\xff"}},
        {"__start__": input_data},
        None,
    ]
    assert history[2].tasks[0].result["tags"] == {"long"}
    assert calls == ["gather", "check", "check"]


async def test_values_of_a_client_without_the_schema_are_plain_json(stage: Stage) -> None:
    """A client without the schema sends and gets JSON data. What is none is refused before a run starts."""
    calls: list[str] = []
    graph = typed(calls)
    stage.use(graph)
    client, config = GraphClient(stage.client, "typed", task_queue=stage.task_queue), stage.thread()
    async with stage.serving(graph):
        for input_data, reason in (
            ({"tags": {"new"}}, "set would come back as list|not JSON serializable|set"),
            ({"until": NOON}, "datetime"),
        ):
            with pytest.raises(InvalidInputError, match=reason) as caught:
                await client.ainvoke(input_data, config)
            assert "plain JSON" in str(caught.value)
        assert await stage.runs(config["configurable"]["thread_id"]) == []
        for one_value, reason in (([1], "got list"), ("text", "got str")):  # the state may be one value
            with pytest.raises(InvalidInputError, match=reason):
                await client.ainvoke(one_value, stage.thread())
        plain = {
            "sources": [{"title": "a", "found": "2026-01-02T12:00:00Z"}],
            "tags": ["new"],
            "until": "2026-01-02T12:00:00.000001Z",
            "pair": [0, "x"],
            "author": {"name": "Ada", "born": "2026-01-02T12:00:00Z"},
        }
        with pytest.raises(ConnectionError):
            await client.ainvoke(plain, config)
        values = await client.ainvoke(None, config)
    assert values["sources"][1] == {"title": "b", "found": "2026-01-02T12:00:00Z"}
    assert sorted(values["tags"]) == ["long", "new"]
    assert (values["mood"], values["pair"], values["raw"]) == ("keen", [1, "x"], "AP8=")
    assert json.loads(json.dumps(values)) == values


async def test_an_input_that_does_not_fit_is_refused_by_the_worker(stage: Stage) -> None:
    """A client without the schema gets the same error as one with it; the thread is not affected."""
    graph = Pipeline().graph()
    stage.use(graph)
    client, config = GraphClient(stage.client, "research", task_queue=stage.task_queue), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(InvalidInputError, match="'query' is declared str, got int") as caught:
            await client.ainvoke({"query": 5}, config)
        assert (caught.value.graph, caught.value.key) == ("research", "query")
        with pytest.raises(EmptyInputError):
            await client.ainvoke(None, config)
        assert await client.ainvoke({"query": "x"}, config) == FINISHED


async def test_a_graph_without_a_worker_is_refused(stage: Stage) -> None:
    """An invoke of a graph without a worker raises an `UnknownGraphError`, and starts no run."""
    config = stage.thread()
    client = GraphClient(stage.client, "nobodys")
    with pytest.raises(UnknownGraphError, match=r"nobody polls task queue 'stepgraph\.nobodys'") as caught:
        await asyncio.wait_for(client.ainvoke({"query": "x"}, config), PATIENCE)
    assert caught.value.graph == "nobodys"
    assert await stage.runs(config["configurable"]["thread_id"]) == []
    assert (await client.aget_state(config)).values == {}


async def test_a_graph_that_the_worker_lacks_is_refused_by_it(stage: Stage) -> None:
    """If a worker polls the task queue for other graphs only, its error suggests one of them."""
    graph = Pipeline().graph()
    stage.use(graph)
    client = GraphClient(stage.client, "reserch", task_queue=stage.task_queue)
    async with stage.serving(graph):
        with pytest.raises(UnknownGraphError, match="Did you mean 'research'") as caught:
            await client.ainvoke({"query": "x"}, stage.thread())
    assert caught.value.graph == "reserch"


async def test_a_thread_of_another_graph_is_refused(stage: Stage) -> None:
    """Every call on a thread of another graph, open or closed, raises an error that names both, and starts no run."""
    pipeline = Pipeline()
    pipeline.slow = True
    graph, other = pipeline.graph(), typed([])
    client, wrong, config = stage.use(graph), stage.use(other), stage.thread()

    async def refused() -> None:
        for call in (
            wrong.ainvoke({"pair": (1, "x")}, config),
            wrong.ainvoke(None, config),
            wrong.aget_state(config),
            wrong.aget_run(config),
            anext(wrong.aget_state_history(config)),
        ):
            with pytest.raises(GraphMismatchError, match="belongs to graph 'research', not to 'typed'") as caught:
                await call
            assert (caught.value.graph, caught.value.thread_graph) == ("typed", "research")

    async with stage.serving(graph, other):
        run = await client.astart({"query": "x"}, config)
        await eventually(pipeline.started.is_set)
        await refused()
        pipeline.go_on.set()
        assert await run.result() == FINISHED
        await refused()
        assert len(await stage.runs(run.thread_id)) == 1


# Plugins that cannot work


async def test_a_plugin_refuses_what_is_not_a_list_of_graphs() -> None:
    """The error of a wrong argument names it, and says what to pass instead."""
    graph = Pipeline().graph()
    graphs: Any
    for graphs, message in (
        ([], "GraphPlugin needs at least one graph"),
        (graph, r"takes a list of graphs, GraphPlugin\(\[graph\]\)"),
        ([StateGraph(Research)], r"got stepgraph.graph.builder.StateGraph. Compile it first: .compile\(name=...\)"),
        (["research"], "takes compiled graphs; got str"),
        ("research", "takes compiled graphs; got str"),
        ([graph, None], "takes compiled graphs; got NoneType"),
        ([graph, Pipeline().graph()], "Two graphs are named 'research'. Give each a name of its own"),
        ([graph, graph], "Two graphs are named 'research'"),
    ):
        with pytest.raises(GraphDefinitionError, match=message):
            GraphPlugin(graphs)


@pytest.mark.parametrize("value", ["x", "-1", "inf", "nan"])
async def test_a_worker_with_a_wrong_setting_is_refused(
    stage: Stage, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run of such a worker would wait for ever, so the worker is not made."""
    monkeypatch.setenv("STEPGRAPH_FUSED_STEPS", value)
    with pytest.raises(StepgraphError, match=f"STEPGRAPH_FUSED_STEPS (must|may) be .* got '?{value}"):
        Worker(stage.client, task_queue=stage.task_queue, plugins=[GraphPlugin([Pipeline().graph()])])


async def test_a_second_plugin_is_refused(stage: Stage) -> None:
    """A worker takes one plugin, and so does a replayer; the error of a second one names the graphs of both."""
    plugins = [GraphPlugin([Pipeline().graph()]), GraphPlugin([typed([])])]
    message = r"for 'research', and for 'typed'. Give all graphs to one: GraphPlugin\(\[a, b\]\)"
    with pytest.raises(GraphDefinitionError, match=message):
        Worker(stage.client, task_queue=stage.task_queue, plugins=plugins)
    with pytest.raises(GraphDefinitionError, match=message):
        Replayer(workflows=[], plugins=plugins)
    own = Client(**{**stage.client.config(), "plugins": plugins[:1]})
    with (
        pytest.warns(UserWarning, match="present from both client and worker"),
        pytest.raises(GraphDefinitionError, match=message),
    ):
        Worker(own, task_queue=stage.task_queue, plugins=plugins[1:])


async def test_the_same_plugin_twice_is_refused(stage: Stage) -> None:
    """A worker has the plugins of its client already, so it refuses the same plugin."""
    plugin = GraphPlugin([Pipeline().graph()])
    own = Client(**{**stage.client.config(), "plugins": [plugin]})
    with (
        pytest.warns(UserWarning, match="present from both client and worker"),
        pytest.raises(GraphDefinitionError, match="A worker takes one GraphPlugin, its client's included"),
    ):
        Worker(own, task_queue=stage.task_queue, plugins=[plugin])
