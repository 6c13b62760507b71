"""Signals, updates and queries with anything that a sender can send: each is told, and none fails a workflow task."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from stepgraph import Command, interrupt
from stepgraph.errors import InvalidInputError, InvalidThreadError, NodeError, PayloadTooLargeError, StepgraphError
from stepgraph.protocol.names import FORK, GET_STATE, INVOKE, RESUME, UPDATE_STATE, WAIT_UNTIL_IDLE
from stepgraph.serde.sizes import MAX_CONFIG_BYTES, MAX_DEPTH
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import chain


class State(TypedDict, total=False):
    log: Annotated[list[Any], add]
    text: str


ASKING = chain(State, {"ask": lambda state: {"log": [interrupt("well?")]}}, name="asking")

COMMANDS = [UPDATE_STATE, FORK, RESUME, INVOKE]


def nested(levels: int) -> Any:
    """Return a list in a list, and so on."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def json_text(text: str) -> RawValue:
    """Return a payload that says it is JSON."""
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=text.encode()))


MALFORMED: dict[str, list[Any]] = {
    "two arguments": [{"values": {}}, {"values": {}}],
    "a text": ["yes"],
    "a list": [[1]],
    "an unknown encoding": [RawValue(Payload(metadata={"encoding": b"binary/rot13"}, data=b"uryyb"))],
    "no encoding": [RawValue(Payload(data=b"{}"))],
    "no JSON": [json_text('{"values": ')],
    "nested too deep for a parser": [json_text('{"resume": ' + "[" * 300 + "]" * 300 + "}")],
    "a lone surrogate": [json_text('{"resume": "\\ud800"}')],
    "a number that is none": [json_text('{"resume": NaN}')],
    "a huge number": [json_text('{"resume": 1' + "0" * 6_000 + "}")],
    "an unknown field": [{"resumee": 1}],
    "no super-step": [{"super_steps": []}],
    "a super-step without an update": [{"super_steps": [[{"values": {}}], []]}],
    "values beside super-steps": [{"values": {"text": "x"}, "super_steps": [[{"values": {}}]]}],
    "an author beside super-steps": [{"as_node": "human", "super_steps": [[{"values": {}}]]}],
}


async def waiting_thread(stage: Stage) -> Any:
    """Return the handle of a thread that waits at an interrupt."""
    client, config = stage.use(ASKING), stage.thread()
    result = await client.ainvoke({"log": []}, config)
    assert [pending.value for pending in result["__interrupt__"]] == ["well?"]
    return stage.client.get_workflow_handle(config["configurable"]["thread_id"])


async def answers_still(stage: Stage, handle: Any) -> None:
    """Check that the thread still takes an answer, and that no workflow task of it has failed."""
    config = {"configurable": {"thread_id": handle.id}}
    client = stage.use(ASKING)
    assert (await client.ainvoke(Command(resume="yes"), config))["log"] == ["yes"]
    for run in await stage.runs(handle.id):
        kinds = {event.event_type for event in (await stage.history(run)).events}
        assert EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED not in kinds


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_malformed_signal_is_shown_in_the_state(stage: Stage, name: str) -> None:
    """The state's errors have a line for each signal that was refused, and the thread goes on."""
    client = stage.use(ASKING)
    async with stage.serving(ASKING):
        handle = await waiting_thread(stage)
        for arguments in MALFORMED.values():
            await handle.signal(name, args=arguments)

        async def errors() -> list[str]:
            return list((await client.aget_state({"configurable": {"thread_id": handle.id}})).errors)

        await eventually(lambda: _all_there(errors, len(MALFORMED)))
        shown = await errors()
        assert len(shown) == len(MALFORMED)
        assert "2 arguments" in shown[0]
        assert "not a JSON object" in shown[1]
        await answers_still(stage, handle)


async def _all_there(errors: Any, count: int) -> bool:
    return len(await errors()) >= count


@pytest.mark.parametrize("name", [*COMMANDS, "no_such_update"])
async def test_a_malformed_update_is_refused(stage: Stage, name: str) -> None:
    """Its sender gets an `ApplicationError`; the history does not have the update, and the thread goes on."""
    async with stage.serving(ASKING):
        handle = await waiting_thread(stage)
        accepted = await stage.accepted_updates(handle.id)
        for arguments in MALFORMED.values():
            with pytest.raises(WorkflowUpdateFailedError) as failed:
                await handle.execute_update(name, args=arguments, result_type=RawValue)
            assert isinstance(failed.value.cause, ApplicationError)
        assert await stage.accepted_updates(handle.id) == accepted
        await handle.execute_update(WAIT_UNTIL_IDLE, args=[1, 2], result_type=RawValue)
        await answers_still(stage, handle)


async def test_an_unknown_signal_is_shown_with_the_name_that_is_meant(stage: Stage) -> None:
    """The state's errors name the signal and the closest one."""
    client = stage.use(ASKING)
    async with stage.serving(ASKING):
        handle = await waiting_thread(stage)
        await handle.signal("resum", {"resume": "yes"})

        async def errors() -> Any:
            return (await client.aget_state({"configurable": {"thread_id": handle.id}})).errors

        assert "no signal 'resum'. Did you mean 'resume'?" in (await eventually(errors))[0]
        await answers_still(stage, handle)


async def test_a_malformed_query_gets_an_error(stage: Stage) -> None:
    """A query with too many arguments, or with one that is not understood, is answered with what is wrong."""
    async with stage.serving(ASKING):
        handle = await waiting_thread(stage)
        for case, arguments in MALFORMED.items():
            answer = await handle.query(GET_STATE, args=arguments)
            assert "not understood" in answer["error"]["message"], case
        assert (await handle.query(GET_STATE))["next"] == ["ask"]
        with pytest.raises(WorkflowQueryFailedError, match="expected but not found"):
            await handle.query("no_such_query")
        await answers_still(stage, handle)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 150, 195, 197])
async def test_an_answer_that_is_nested_too_deep_is_refused_however_it_comes(stage: Stage, levels: int) -> None:
    """By signal, by update or from a caller, the answer is refused; the thread can still be read and answered."""
    client = stage.use(ASKING)
    async with stage.serving(ASKING):
        handle = await waiting_thread(stage)
        config = {"configurable": {"thread_id": handle.id}}
        await handle.signal(RESUME, {"resume": nested(levels)})

        async def errors() -> Any:
            return (await client.aget_state(config)).errors

        await eventually(errors)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(RESUME, {"resume": nested(levels)}, result_type=RawValue)
        with pytest.raises(InvalidInputError, match="deeper than 100"):
            await client.ainvoke(Command(resume=nested(levels)), config)
        await answers_still(stage, handle)


async def test_an_answer_as_deep_as_allowed_is_taken(stage: Stage) -> None:
    """What the thread records of the answer can be read, also after the run has ended."""
    client, config = stage.use(ASKING), stage.thread()
    deep = nested(MAX_DEPTH - 2)  # the channel is a list of answers
    async with stage.serving(ASKING):
        await client.ainvoke({"log": []}, config)
        assert (await client.ainvoke(Command(resume=deep), config))["log"] == [deep]
        assert (await client.aget_state(config)).values["log"] == [deep]
        assert [each async for each in client.aget_state_history(config)]


STRANGE = {
    "just too deep": nested(MAX_DEPTH + 1),
    "too deep for records": nested(197),
    "too deep for JSON": nested(300),
    "a lone surrogate": "\ud800",
    "a huge number": 10**6_000,
}

NOT_JSON = {
    "not a number": float("nan"),
    "a key that is no text": {1: 2},
}


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE.keys())
async def test_a_value_that_cannot_be_recorded_is_refused_wherever_it_comes_in(stage: Stage, value: Any) -> None:
    """From a node, as an interrupt's value or default, in an input, an update, an answer or a config."""
    what = {"does": ""}

    def node(state: State) -> dict[str, Any]:
        if what["does"] == "write":
            return {"log": [value]}
        return {"log": [interrupt(value) if what["does"] == "ask" else interrupt("?", timeout=60, default=value)]}

    graph = chain(State, {"node": node}, name="strange")
    client = stage.use(graph)
    async with stage.serving(graph):
        for what["does"] in ("write", "ask", "default"):
            config = stage.thread()
            with pytest.raises(NodeError):
                await client.ainvoke({"log": []}, config)
            assert (await client.aget_state(config)).next == ("node",)
        with pytest.raises(StepgraphError):
            await client.ainvoke({"log": [value]}, stage.thread())
        with pytest.raises(StepgraphError):
            await client.aupdate_state(config, {"log": [value]}, as_node="human")
        with pytest.raises(StepgraphError):
            await client.ainvoke(Command(resume=value), config)
        for key in ("configurable", "metadata", "tags"):
            strange: dict[str, Any] = stage.thread()
            strange[key] = {**strange.get(key, {}), "x": value} if key != "tags" else [value]
            with pytest.raises(InvalidThreadError):
                await client.ainvoke({"log": []}, strange)


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_a_value_that_is_not_json_is_refused_where_people_ask_and_answer(stage: Stage, value: Any) -> None:
    """A state keeps such a value. Interrupts, answers and configs are shown to people and programs as plain JSON."""

    def node(state: State) -> dict[str, Any]:
        return {"log": [interrupt(value)] if state["log"] == ["ask"] else [interrupt("?")]}

    graph = chain(State, {"node": node}, name="strange")
    client = stage.use(graph)
    async with stage.serving(graph):
        with pytest.raises(NodeError):
            await client.ainvoke({"log": ["ask"]}, stage.thread())
        config = stage.thread()
        assert repr((await client.ainvoke({"log": [value]}, config))["log"]) == repr([value])
        with pytest.raises(StepgraphError):
            await client.ainvoke(Command(resume=value), config)
        with pytest.raises(InvalidThreadError):
            await client.ainvoke({"log": []}, {**stage.thread(), "metadata": {"x": value}})


async def test_a_config_that_is_too_large_is_refused(stage: Stage) -> None:
    """Every activity's input has a copy of it."""
    client, config = stage.use(ASKING), stage.thread(metadata={"x": "x" * MAX_CONFIG_BYTES})
    with pytest.raises(InvalidThreadError, match="config has"):
        await client.ainvoke({"log": []}, config)


async def test_answers_and_questions_that_do_not_fit_beside_the_state_are_refused(stage: Stage) -> None:
    """They are in the thread's record, as the state is; what is refused leaves the thread as it was."""
    graph = chain(State, {"ask": lambda state: {"log": [len(interrupt(n * "x")) for n in (1, 1_500_000)]}}, name="much")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"log": [], "text": "x" * 600_000}, config)
        with pytest.raises(PayloadTooLargeError, match="interrupts and answers"):
            await client.ainvoke(Command(resume="y" * 1_500_000), config)
        with pytest.raises(NodeError, match="interrupts and answers"):
            await client.ainvoke(Command(resume="y"), config)
        assert (await client.aget_state(config)).next == ("ask",)


async def test_names_as_long_as_allowed_do_not_exceed_what_the_server_takes(stage: Stage) -> None:
    """A node's name becomes an activity type, a summary in the timeline, and a search attribute."""
    name = "\N{PARTY POPPER}" * 200
    graph = chain(State, {name: lambda state: {"log": [interrupt("well?")]}}, name="l" * 100)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"log": []}, config)
        assert (await client.aget_state(config)).next == (name,)
        assert (await client.ainvoke(Command(resume="yes"), config))["log"] == ["yes"]
