"""The commands of `starter.py`: what they print, as text and as JSON, and how they fail."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from tests.commands.projects import SHORT_HEARTBEAT_TIMEOUT, Ended, Project, plain
from tests.conftest import ROOT
from tests.patience import PATIENCE, eventually_sync

STEPS = ["first", "beside", "second", "third"]


@pytest.fixture(scope="module", autouse=True)
async def histories(served: Project) -> AsyncIterator[None]:
    """Replay every history of this module at the end."""
    yield
    await served.replay()


@pytest.fixture(scope="module")
def done(served: Project) -> tuple[str, Ended]:
    """A thread that has finished, and the result of the command that ran it."""
    thread = served.thread()
    return thread, served.starter("run", served.graph, "--input", "{}", "--thread", thread)


@pytest.fixture(scope="module")
def failed(served: Project) -> tuple[str, Ended]:
    """A thread whose node ``second`` failed, and the result of the command that ran it."""
    thread = served.thread()
    served.write("broken", "")
    ended = served.starter("run", served.graph, "--input", "{}", "--thread", thread)
    (served.folder / "broken").unlink()
    return thread, ended


# run


def test_run_prints_the_steps_and_then_the_values(served: Project, done: tuple[str, Ended]) -> None:
    """`run` prints the server, the thread and its address, a line for each super-step, and the values as JSON."""
    thread, ended = done
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"Temporal as configured at {served.address}, namespace 'default'. Web UI: ")
    assert lines[1].startswith(f"thread {thread}")
    assert [" ".join(re.sub(r"\d+\.\d\d s", "", line).split()) for line in lines[2:7]] == [
        "step 0 input then __start__",
        "step 1 __start__ then first",
        "step 2 first then beside, second",
        "step 3 beside, second then third",
        "step 4 third done",
    ]
    assert json.loads("\n".join(lines[7:])) == {"log": ["first", "beside", "second", "third"]}


def test_run_as_json_prints_one_document(served: Project) -> None:
    """`run --json` prints the thread, the run and the values. A generated thread id begins with the graph's name."""
    ended = served.starter("run", served.graph, "--input", '{"wait": false}', "--json")
    served.threads.append(ended.json["thread_id"])
    assert (ended.status, ended.err) == (0, "")
    assert ended.json["thread_id"].startswith(f"{served.graph}-")
    assert ended.json["values"] == {"wait": False, "log": ["first", "beside", "second", "third"]}
    assert ended.json["run_id"]


def test_a_step_is_printed_as_soon_as_it_has_finished(served: Project) -> None:
    """`run` prints step 2 into a pipe while the next node still runs."""
    thread = served.thread()
    (served.folder / "go").unlink(missing_ok=True)
    command = [sys.executable, ROOT / "starter.py", "run", served.graph, "--input", '{"wait": true}']
    running = subprocess.Popen(
        [*map(str, command), "--thread", thread],
        cwd=served.folder,
        env=served.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    with running, running.stdout as out:
        printed = next(line for line in out if line.startswith("step 2"))
        assert "first" in printed
        assert "second-ended" not in served.ran(thread)
        served.go()
        assert any(line.startswith("step 4") for line in out)
        out.read()
    assert running.returncode == 0


@pytest.mark.parametrize("address", ["steps:graph", "./steps.py"])
def test_run_by_address_starts_its_own_worker(project: Project, address: str) -> None:
    """`run` with an address runs the nodes in its own process; no other worker is needed."""
    thread = project.thread()
    running = project.start(ROOT / "starter.py", "run", address, "--input", "{}", "--thread", thread)
    assert running.ended().status == 0, running.err
    assert {pid for _, _, pid in project.notes(thread)} == {running.pid}


CHAT = """
from langchain_core.messages import AIMessage
from stepgraph import END, START, MessagesState, StateGraph

builder = StateGraph(MessagesState)
builder.add_node("answer", lambda state: {"messages": AIMessage(f"You said {state['messages'][-1].text}")})
builder.add_edge(START, "answer")
builder.add_edge("answer", END)
graph = builder.compile(name="chat")
"""


def test_messages_are_read_and_printed_as_json(served: Project) -> None:
    """The input may have messages as model providers write them. Each is printed from its type on."""
    served.write("chat.py", CHAT)
    thread, input_data = served.thread(), {"messages": [{"role": "user", "content": "hi"}]}
    ended = served.starter("run", "chat.py:graph", "--input", json.dumps(input_data), "--thread", thread, "--json")
    assert (ended.status, ended.err) == (0, "")
    for printed in (json.loads(ended.out), json.loads(served.starter("state", thread, "--json").out)):
        messages = printed["values"]["messages"]
        assert [[*message.items()][:2] for message in messages] == [
            [("$type", "message"), ("type", "human")],
            [("$type", "message"), ("type", "ai")],
        ]
        assert [message["content"] for message in messages] == ["hi", "You said hi"]


def test_the_input_may_come_from_a_file_or_from_standard_input(served: Project) -> None:
    """`run --input @FILE` reads a file, and `run --input -` standard input."""
    text = '{"log": ["déjà \\u20ac"]}'
    served.write("input.json", text)
    command = (ROOT / "starter.py", "run", served.graph, "--json", "--input")
    from_file = served.start(*command, "@input.json", "--thread", served.thread())
    from_standard_input = served.start(*command, "-", "--thread", served.thread(), stdin=text)
    for running in (from_file, from_standard_input):
        assert running.ended().json["values"]["log"][0] == "déjà €"


def test_run_detached_does_not_wait_for_the_end(served: Project) -> None:
    """`run --detach` prints the thread and ends; a worker runs the thread."""
    threads = [served.thread(), served.thread()]
    command = ("run", served.graph, "--input", "{}", "--detach", "--thread")
    as_json, as_text = served.together((*command, threads[0], "--json"), (*command, threads[1]))
    assert (as_json.status, set(as_json.json)) == (0, {"thread_id", "run_id"})
    assert as_text.out.splitlines()[-1].startswith(f"thread {threads[1]}")
    eventually_sync(lambda: all("third" in served.ran(thread) for thread in threads))


def test_a_failed_run_prints_the_error_and_the_command_to_resume(served: Project, failed: tuple[str, Ended]) -> None:
    """A failed `run` prints the finished steps, then the error with node, cause and line, and the command to resume."""
    thread, ended = failed
    assert ended.status == 1
    assert [line.split()[1] for line in ended.out.splitlines() if line.startswith("step")] == ["0", "1", "2"]
    error, place, hint = ended.err.splitlines()
    assert error.startswith(f"Error: Node 'second' of graph '{served.graph}' failed in step 3 of thread '{thread}'")
    assert "ConnectionError: no [red]route[/]." in error
    assert re.fullmatch(r'Raised at ".*steps\.py", line \d+, in second\.', place)
    assert hint == f"What finished is kept. To go on: starter.py resume {thread}"


def test_a_failed_run_as_json_prints_one_error_document(served: Project) -> None:
    """A failed `run --json` prints the error's type, message and parts on standard output; the exit status is 1."""
    thread = served.thread()
    served.write("broken", "")
    ended = served.starter("run", served.graph, "--input", "{}", "--thread", thread, "--json")
    (served.folder / "broken").unlink()
    assert (ended.status, ended.err, set(ended.json)) == (1, "", {"error"})
    error = ended.json["error"]
    assert set(error) == {"type", "message", "parts"}
    assert "ConnectionError: no [red]route[/]" in error["message"]
    assert (error["parts"]["thread_id"], error["parts"]["node"], error["parts"]["step"]) == (thread, "second", 3)


def test_a_run_ended_by_the_recursion_limit_can_be_resumed(served: Project) -> None:
    """The error of a run that has met its recursion limit has the command to resume it."""
    thread = served.thread()
    ended = served.starter("run", served.graph, "--input", "{}", "--thread", thread, "--recursion-limit", 1)
    assert ended.status == 1
    assert f"To go on: starter.py resume {thread}" in ended.err
    assert served.starter("resume", thread).status == 0
    assert sorted(served.ran(thread)) == sorted([*STEPS, "second-ended"])


def test_ctrl_c_ends_the_command_and_not_the_thread(served: Project) -> None:
    """On Ctrl-C, `run` ends with status 130 and prints how to follow the thread, which its worker finishes."""
    thread = served.thread()
    (served.folder / "go").unlink(missing_ok=True)
    running = served.start(*(ROOT / "starter.py", "run", served.graph, "--input", '{"wait": true}', "--thread", thread))
    running.wait_for("step 2")
    running.process.send_signal(signal.SIGINT)
    ended = running.ended()
    assert "second-ended" not in served.ran(thread)
    assert ended.status == 130
    assert ended.err.splitlines() == [
        f"The thread goes on with its workers. To follow it: starter.py resume {thread}",
        "Interrupted.",
    ]
    served.go()
    eventually_sync(lambda: "third" in served.ran(thread))


def test_ctrl_c_ends_the_commands_own_worker_too(project: Project) -> None:
    """On Ctrl-C, `run` with an address prints the command to resume, which runs the interrupted node again."""
    thread = project.thread()
    arguments = ("run", "steps:graph", "--input", '{"wait": true}', "--thread", thread)
    running = project.start(ROOT / "starter.py", *arguments)
    eventually_sync(lambda: "second" in project.ran(thread))
    running.process.send_signal(signal.SIGINT)
    ended = running.ended()
    assert "second-ended" not in project.ran(thread)
    assert ended.status == 130
    again = f"starter.py resume {thread} --graph steps:graph"
    assert f"The thread waits for a worker that has graph '{project.graph}'. To follow it: {again}" in ended.err
    project.go()
    resumed = project.starter("resume", thread, "--graph", "steps:graph")
    assert (resumed.status, resumed.err) == (0, "")
    ran = project.ran(thread)
    assert [ran.count(node) for node in ("first", "beside", "second", "third")] == [1, 1, 2, 1]


# resume


def test_resume_runs_only_unfinished_tasks(served: Project, failed: tuple[str, Ended]) -> None:
    """`resume` prints the steps after the last checkpoint, and the values."""
    thread, _ = failed
    before = len(served.ran(thread))
    ended = served.starter("resume", thread)
    assert (ended.status, ended.err) == (0, "")
    assert [line.split()[1] for line in ended.out.splitlines() if line.startswith("step")] == ["3", "4"]
    assert served.ran(thread)[before:] == ["second", "second-ended", "third"]


def test_resume_of_a_finished_thread_prints_its_values(served: Project, done: tuple[str, Ended]) -> None:
    """`resume` of a finished thread runs no node."""
    thread, _ = done
    before = served.ran(thread)
    ended = served.starter("resume", thread, "--json")
    assert (ended.status, ended.json["thread_id"]) == (0, thread)
    assert ended.json["values"] == {"log": ["first", "beside", "second", "third"]}
    assert served.ran(thread) == before


def test_resume_of_a_running_thread_follows_it(served: Project) -> None:
    """An operator whose command was interrupted can follow the thread again."""
    thread = served.thread()
    (served.folder / "go").unlink(missing_ok=True)
    served.starter("run", served.graph, "--input", '{"wait": true}', "--thread", thread, "--detach")
    following = served.start(ROOT / "starter.py", "resume", thread)
    following.wait_for("step 2")
    served.go()
    ended = following.ended()
    assert (ended.status, ended.err) == (0, "")
    assert "step 4" in ended.out
    assert served.ran(thread).count("second") == 1


def test_run_on_a_running_thread_is_refused(served: Project) -> None:
    """A thread has one writer."""
    thread = served.thread()
    (served.folder / "go").unlink(missing_ok=True)
    served.starter("run", served.graph, "--input", '{"wait": true}', "--thread", thread, "--detach")
    ended = served.starter("run", served.graph, "--input", "{}", "--thread", thread)
    assert ended.status == 1
    assert f"Error: Thread '{thread}' is running" in ended.err
    served.go()
    assert served.starter("resume", thread).status == 0


# state, history, threads, graph


def test_state_prints_the_head_of_a_thread(served: Project, done: tuple[str, Ended]) -> None:
    """`state` prints the status, the checkpoint, the nodes that are next, and the values."""
    thread, _ = done
    ended = served.starter("state", thread)
    lines = ended.out.splitlines()
    assert (ended.status, ended.err) == (0, "")
    assert lines[0] == f"thread      {thread}, graph {served.graph}, complete"
    assert lines[1] == "step 4"
    assert lines[4] == "next        nothing: the graph is done"
    assert json.loads("\n".join(lines[lines.index("values") + 1 :])) == {"log": [*STEPS]}


def test_state_of_a_failed_thread_prints_the_tasks_of_its_head(served: Project) -> None:
    """`state` of a failed thread prints a task with its error, and a task that has finished."""
    thread = served.thread()
    served.write("broken", "")
    served.starter("run", served.graph, "--input", "{}", "--thread", thread)
    (served.folder / "broken").unlink()
    as_text, as_json = served.together(("state", thread), ("state", thread, "--json"))
    assert f"{thread}, graph {served.graph}, failed" in as_text.out
    assert "task        second: failed, ConnectionError('no [red]route[/]')" in as_text.out
    assert "task        beside: finished" in as_text.out
    state = as_json.json
    assert state["next"] == ["second"]
    assert {task["name"]: task["error"] for task in state["tasks"]} == {
        "beside": None,
        "second": "ConnectionError('no [red]route[/]')",
    }


def test_state_as_json_is_the_snapshot(served: Project, done: tuple[str, Ended]) -> None:
    """`state --json` prints the keys of a `StateSnapshot`."""
    thread, _ = done
    state = served.starter("state", thread, "--json").json
    assert set(state) >= {"values", "next", "config", "metadata", "created_at", "parent_config", "tasks", "interrupts"}
    assert (state["metadata"]["step"], state["metadata"]["source"]) == (4, "loop")


def test_a_checkpoint_is_named_by_its_step_its_id_or_the_end_of_its_id(
    served: Project, done: tuple[str, Ended]
) -> None:
    """A step, a checkpoint id and the end of the id name the same checkpoint."""
    thread, _ = done
    by_step = served.starter("state", thread, "--checkpoint", "2", "--json").json
    checkpoint_id = by_step["config"]["configurable"]["checkpoint_id"]
    assert by_step["values"] == {"log": ["first"]}
    named = [("state", thread, "--checkpoint", name, "--json") for name in (checkpoint_id, checkpoint_id[-11:])]
    assert [ended.json for ended in served.together(*named)] == [by_step, by_step]


def test_history_prints_a_table_of_all_runs(served: Project, failed: tuple[str, Ended]) -> None:
    """A row of `history` has step, source, written channels, next nodes and the end of the checkpoint's id."""
    thread, _ = failed
    served.starter("resume", thread)
    ended = served.starter("history", thread)
    rows = [line.split() for line in ended.out.splitlines() if line.strip() and "─" not in line]
    assert rows[0] == ["step", "source", "wrote", "next", "time", "checkpoint"]
    assert [row[0] for row in rows[1:]] == ["4", "3", "2", "1", "0"]
    assert rows[1][1:4] == ["loop", "third:", "log"]
    assert "(failed)" not in ended.out.splitlines()[4]
    named = served.starter("state", thread, "--checkpoint", rows[2][-1], "--json").json
    assert named["metadata"]["step"] == 3


def test_history_as_json_is_a_list_of_snapshots(served: Project, done: tuple[str, Ended]) -> None:
    """`history --json` prints the newest snapshot first, and at most as many as --limit."""
    thread, _ = done
    history = served.starter("history", thread, "--limit", 3, "--json").json
    assert [snapshot["metadata"]["step"] for snapshot in history] == [4, 3, 2]
    assert history[0]["parent_config"] == history[1]["config"]


def test_history_and_state_need_no_worker(project: Project) -> None:
    """`history` and `state` replay the run, and run no nodes of other threads."""
    project.heartbeat_timeout = SHORT_HEARTBEAT_TIMEOUT
    thread, waiting = project.thread(), project.thread()
    project.starter("run", "steps:graph", "--input", "{}", "--thread", thread)
    worker = project.worker()
    project.starter("run", project.graph, "--input", '{"wait": true}', "--thread", waiting, "--detach")
    eventually_sync(lambda: "second" in project.ran(waiting))
    worker.kill()
    ended = project.starter("history", thread, "--values")
    assert (ended.status, ended.err) == (0, "")
    assert '{"log": ["first", "beside", "second", "third"]}' in ended.out
    state = project.starter("state", thread, "--checkpoint", "1", "--json")
    assert state.json["next"] == ["first"]
    assert project.ran(waiting).count("second") == 1
    project.go()
    assert project.starter("resume", waiting, "--graph", "steps:graph").status == 0


def test_threads_lists_the_latest_first(served: Project, done: tuple[str, Ended], failed: tuple[str, Ended]) -> None:
    """A row of `threads` has graph, status, start and duration; the JSON has the times of start and end."""

    def listed() -> dict[str, Any]:
        threads = served.starter("threads", "--graph", served.graph, "--limit", 100, "--json").json
        return {thread["thread_id"]: thread for thread in threads}

    eventually_sync(lambda: {done[0], failed[0]} <= set(listed()))
    threads = listed()
    assert (threads[done[0]]["graph"], threads[done[0]]["status"]) == (served.graph, "complete")
    starts = [thread["started"] for thread in threads.values()]
    assert starts == sorted(starts, reverse=True)
    command = ("threads", "--graph", served.graph)
    as_text, limited = served.together(command, (*command, "--limit", 1, "--json"))
    assert ["thread", "graph", "status", "started", "took"] in [line.split() for line in as_text.out.splitlines()]
    assert len(limited.json) == 1


def test_threads_lists_those_on_a_task_queue_of_another_name(project: Project) -> None:
    """`threads` finds a thread by its graph, wherever its worker polls and whatever task queue the reader has set."""
    queue = f"mine-{project.graph}"
    project.worker("--graphs", "steps:graph", "--task-queue", queue)
    thread = project.thread()
    ran = project.starter("run", project.graph, "--input", "{}", "--thread", thread, STEPGRAPH_TASK_QUEUE=queue)
    assert ran.status == 0, ran.err
    for reader in ({}, {"STEPGRAPH_TASK_QUEUE": "another"}):

        def is_listed(reader: dict[str, str] = reader) -> bool:
            listed = project.starter("threads", "--limit", 1000, "--json", **reader)
            return thread in [each["thread_id"] for each in listed.json]

        eventually_sync(is_listed)


async def test_threads_lists_those_of_a_namespace_without_search_attributes(project: Project) -> None:
    """`threads` then goes by the task queue. No worker has taken up this thread, so nothing is registered."""
    namespace = f"bare-{project.graph}"
    client = await Client.connect(str(project.address))
    request = RegisterNamespaceRequest(namespace=namespace)
    request.workflow_execution_retention_period.FromTimedelta(timedelta(days=1))
    await client.workflow_service.register_namespace(request)

    def listed() -> Ended:
        return project.starter("threads", "--json", TEMPORAL_NAMESPACE=namespace)

    await asyncio.to_thread(eventually_sync, lambda: listed().status == 0)
    bare = await Client.connect(str(project.address), namespace=namespace)
    await bare.start_workflow(project.graph, id="t", task_queue=f"stepgraph.{project.graph}")
    await bare.start_workflow("other", id="not-a-thread", task_queue="other")
    await asyncio.to_thread(eventually_sync, lambda: listed().json)
    assert [(each["thread_id"], each["status"]) for each in listed().json] == [("t", "running")]


def test_threads_without_any_thread_prints_a_sentence_or_an_empty_list(served: Project) -> None:
    """`threads` without any thread is no error."""
    as_text, as_json = served.together(("threads", "--graph", "nobody"), ("threads", "--graph", "nobody", "--json"))
    assert (as_text.status, as_text.out.split(" at ")[0]) == (0, "There are no threads of graph 'nobody'")
    assert (as_json.status, as_json.json) == (0, [])


def test_graph_prints_a_drawing_without_a_server(served: Project) -> None:
    """`graph` prints Mermaid, with titles for several graphs; `graph --json` prints the spec, or a list of specs."""
    served.write("both.py", 'from steps import builder\na = builder.compile(name="a")\nb = builder.compile(name="b")\n')
    drawn, spec, drawings, specs = served.together(
        *(("graph", "steps:graph"), ("graph", "steps.py", "--json"), ("graph", "both"), ("graph", "both", "--json")),
        TEMPORAL_ADDRESS="127.0.0.1:1",
    )
    assert (drawn.status, drawn.out.splitlines()[0]) == (0, "---")
    assert (spec.json["name"], sorted(node["name"] for node in spec.json["nodes"])) == (served.graph, sorted(STEPS))
    assert [line for line in drawings.out.splitlines() if line.startswith("%%")] == ["%% a", "%% b"]
    assert [spec["name"] for spec in specs.json] == ["a", "b"]


# output


def test_a_thread_id_is_printed_unchanged(served: Project) -> None:
    """Square brackets are not markup, and are quoted in an address."""
    thread = "job[bold] [1/2]"
    ended = served.starter("run", served.graph, "--input", '{"log": ["[/] [red]"]}', "--thread", thread)
    served.threads.append(thread)
    assert (ended.status, ended.err) == (0, "")
    assert f"thread {thread}" in ended.out
    assert '"[/] [red]"' in ended.out
    state, resumed = served.together(("state", thread), ("resume", thread), STEPGRAPH_WEB_UI="http://ui.example/")
    assert thread in state.out
    assert "http://ui.example/namespaces/default/workflows/job%5Bbold%5D%20%5B1%2F2%5D" in resumed.out


def test_output_that_is_redirected_has_no_colours_and_no_wrapped_lines(
    served: Project, done: tuple[str, Ended]
) -> None:
    """Redirected output has complete lines at any width of the terminal: addresses and rows can be copied."""
    thread, _ = done
    ui = f"http://{'long.' * 20}example"
    resumed, history = served.together(("resume", thread), ("history", thread, "--values"), STEPGRAPH_WEB_UI=ui)
    assert "\x1b" not in resumed.out + history.out
    assert resumed.out.splitlines()[0].endswith(f"Web UI: {ui}")
    assert f"{ui}/namespaces/default/workflows/{thread}" in resumed.out.splitlines()[1]
    assert sum(line.strip().startswith(tuple("01234")) for line in history.out.splitlines()) == 5


def test_a_narrow_terminal_loses_nothing(served: Project, done: tuple[str, Ended]) -> None:
    """A table that does not fit is printed as a paragraph for each row."""
    thread, _ = done
    history, threads = served.together(("history", thread), ("threads", "--graph", served.graph), COLUMNS="40")
    assert "wrote       beside: log, second: log\n" in history.out
    steps = [line.split()[1] for line in history.out.splitlines() if line.startswith("step")]
    assert steps == ["4", "3", "2", "1", "0"]
    assert f"thread      {thread}\n" in threads.out


def test_a_terminal_gets_colours(served: Project, done: tuple[str, Ended]) -> None:
    """On a terminal the text is the same, with colours."""
    thread, _ = done
    leader, follower = os.openpty()
    ended = subprocess.run(
        [sys.executable, ROOT / "starter.py", "state", thread],
        cwd=served.folder,
        env={**served.env, "TERM": "xterm", "COLUMNS": "80"},
        stdout=follower,
        check=True,
        timeout=PATIENCE,
    )
    os.close(follower)
    printed = os.read(leader, 100_000).decode()
    os.close(leader)
    assert ended.returncode == 0
    assert "\x1b[1m" in printed
    assert "step 4" in plain(printed)


def test_a_terminal_without_unicode_loses_nothing(served: Project) -> None:
    """Characters that a terminal cannot print are escaped; JSON stays valid."""
    command = ("run", served.graph, "--input", '{"log": ["\\u20ac"]}', "--thread")
    as_text, as_json = served.together(
        (*command, served.thread()), (*command, served.thread(), "--json"), PYTHONIOENCODING="ascii"
    )
    assert (as_text.status, as_text.err) == (0, "")
    assert '"\\u20ac"' in as_text.out
    assert as_json.json["values"]["log"][0] == "€"


def test_a_closed_pipe_is_no_error(served: Project, done: tuple[str, Ended]) -> None:
    """A reader may close the pipe early, as in ``starter.py history THREAD | head -1``."""
    running = subprocess.Popen(
        [sys.executable, ROOT / "starter.py", "history", done[0], "--json"],
        cwd=served.folder,
        env=served.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    running.stdout.close()
    _, err = running.communicate(timeout=PATIENCE)
    assert err == ""


@pytest.mark.parametrize("arguments", [["threads", "--json"], ["graph", "steps:graph"], ["--help"], ["--version"]])
def test_an_output_that_cannot_be_written_is_one_line(served: Project, arguments: list[str]) -> None:
    """On a full disk the command ends with 1, and says why on standard error."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, ROOT / "starter.py", *arguments],
            cwd=served.folder,
            env=served.env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    (line,) = ended.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "No space left on device" in line
    assert ended.returncode == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("script", ["starter.py graph steps:graph", "worker.py --check --graphs steps:graph"])
def test_a_command_works_without_standard_streams(served: Project, script: str, closed: str) -> None:
    """A supervisor may start it with closed streams."""
    command = f"{sys.executable} {ROOT}/{script} {closed}"
    ended = subprocess.run(command, shell=True, cwd=served.folder, env=served.env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_working_directory_that_was_deleted_is_told(served: Project, tmp_path: Path) -> None:
    """The error says so, for a graph's module and for the embedded server's folder."""
    folder = tmp_path / "gone"
    folder.mkdir()
    for arguments, message in (
        ("graph steps:graph", "the working directory was deleted"),
        ("graph a.py", "no file 'a.py'"),
    ):
        command = (
            f"rmdir {folder}; {sys.executable} {ROOT}/starter.py {arguments}; status=$?; mkdir {folder}; exit $status"
        )
        ended = subprocess.run(command, shell=True, cwd=folder, env=served.env, capture_output=True, text=True)
        assert ended.returncode == 1
        assert message in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        (
            "STEPGRAPH_STORAGE",
            "/proc/nowhere",
            "The storage file:///proc/nowhere, which STEPGRAPH_STORAGE names, cannot be",
        ),
        ("STEPGRAPH_INLINE_BYTES", "many", "STEPGRAPH_INLINE_BYTES must be a number"),
    ],
)
def test_run_with_its_own_worker_refuses_a_wrong_setting(
    served: Project, setting: str, value: str, message: str
) -> None:
    """It does not start a run that would be tried again without end."""
    ended = served.starter("run", "steps:graph", "--input", "{}", **{setting: value})
    assert ended.status == 1
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1


def test_help_names_every_command(served: Project) -> None:
    """The help has every command, and is also printed without arguments."""
    helped, bare = served.together(("--help",), ())
    assert helped.status == 0
    for command in ("run", "resume", "state", "history", "threads", "graph", "demo"):
        assert re.search(rf"│ {command} ", helped.out), helped.out
    assert "Usage" in bare.out + bare.err


# errors

WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "bad JSON": (("run", "GRAPH", "--input", '{"a": 1'), 1, r"The input is not JSON: Expecting .* Pass an object:"),
    "no object": (("run", "GRAPH", "--input", "[1]"), 1, r"The input must be a JSON object .* use: starter\.py resume"),
    "missing file": (
        ("run", "GRAPH", "--input", "@nosuch.json"),
        1,
        r"The input file 'nosuch\.json' cannot be read: No",
    ),
    "no text": (("run", "GRAPH", "--input", "@binary"), 1, r"The input file 'binary' is not text in UTF-8"),
    "a folder": (("run", "GRAPH", "--input", "@."), 1, r"The input file '\.' cannot be read: Is a directory"),
    "surrogates": (("run", "steps:graph", "--input", '{"log": ["\\ud800"]}'), 1, r"'log'.*|surrogates"),
    "unknown key": (
        ("run", "steps:graph", "--input", '{"wiat": true}'),
        1,
        r"has a key 'wiat' .* Did you mean 'wait'\?",
    ),
    "wrong type": (("run", "steps:graph", "--input", '{"log": 3}'), 1, r"'log' is declared .*, got int"),
    "empty thread id": (("run", "GRAPH", "--input", "{}", "--thread", ""), 1, r"A thread id must not be empty; got ''"),
    "unknown thread": (("state", "nosuch"), 1, r"There is no thread 'nosuch'\. List those .*starter\.py threads"),
    "unknown thread, resume": (("resume", "nosuch"), 1, r"There is no thread 'nosuch'"),
    "unknown graph": (("run", "nosuch", "--input", "{}"), 1, r"No worker serves graph 'nosuch'.*worker\.py --graphs"),
    "no graph's name": (("run", "a b", "--input", "{}"), 1, r"A graph's name must be .*; got 'a b'"),
    "unknown module": (("run", "nosuch:graph", "--input", "{}"), 1, r"There is no module 'nosuch'"),
    "other graph": (
        ("run", "other:graph", "--input", "{}", "--thread", "DONE"),
        1,
        r"belongs to graph 'steps-.*'other'",
    ),
    "unknown checkpoint": (
        ("state", "DONE", "--checkpoint", "nosuch"),
        1,
        r"has no checkpoint 'nosuch'\. See: starter",
    ),
    "ambiguous checkpoint": (
        ("state", "TWICE", "--checkpoint", "000002"),
        1,
        r"'000002' names 2 checkpoints .*step 1\)",
    ),
    "limit": (("history", "DONE", "--limit", "0"), 2, r"Invalid value for '--limit'"),
    "recursion limit": (("run", "GRAPH", "--input", "{}", "--recursion-limit", "0"), 2, r"Invalid value for"),
    "detached own worker": (("run", "steps:graph", "--input", "{}", "--detach"), 2, r"the worker would end with this"),
    "no input": (("run", "GRAPH"), 2, r"Missing option '--input'"),
    "unknown command": (("start", "GRAPH"), 2, r"No such command 'start'"),
}


@pytest.fixture(scope="module")
def refusals(served: Project, done: tuple[str, Ended], failed: tuple[str, Ended]) -> dict[str, Ended]:
    """The results of all wrong commands, which run side by side to save time."""
    served.write("other.py", 'from steps import builder\ngraph = builder.compile(name="other")\n')
    (served.folder / "binary").write_bytes(b"\xff\xfe{")
    twice = served.thread()
    for _ in range(2):
        served.starter("run", served.graph, "--input", "{}", "--thread", twice)
    real = {"GRAPH": served.graph, "DONE": done[0], "TWICE": twice}

    def ended(wrong: tuple[tuple[str, ...], int, str]) -> Ended:
        return served.starter(*(real.get(argument, argument) for argument in wrong[0]))

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(WRONG, pool.map(ended, WRONG.values()), strict=True))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_command_is_refused_with_a_message(refusals: dict[str, Ended], wrong: str) -> None:
    """A wrong command prints a message on standard error, and no traceback. The status is 1, or 2 for wrong usage."""
    _, status, message = WRONG[wrong]
    ended = refusals[wrong]
    printed = " ".join(re.sub(r"[│╭╮╰╯─]", " ", ended.err).split())
    assert ended.status == status, printed
    assert re.search(message, printed), printed
    assert "Traceback" not in ended.out + ended.err
    if status == 1:
        assert printed.startswith("Error: ")
        assert len(ended.err.splitlines()) <= 3


def test_a_wrong_command_with_json_prints_an_error_document(served: Project) -> None:
    """A wrong command with --json prints the error on standard output, where a program reads it."""
    wrong = (("state", "nosuch"), ("run", "steps:graph", "--input", "{"), ("graph", "nosuch"))
    for ended in served.together(*((*arguments, "--json") for arguments in wrong)):
        assert (ended.status, ended.err) == (1, "")
        assert set(ended.json["error"]) == {"type", "message", "parts"}


def test_the_error_of_an_unknown_namespace_has_the_command_that_creates_it(served: Project) -> None:
    """The error of an unknown namespace has the server, the namespace and the command that creates it."""
    ended = served.starter("threads", TEMPORAL_NAMESPACE="nosuch")
    assert ended.status == 1
    assert f"The Temporal server at {served.address} has no namespace 'nosuch'. Make it with `temporal" in ended.err


def test_the_command_works_without_its_script(served: Project, server: WorkflowEnvironment) -> None:
    """`pip install` installs `starter.py` as the command `stepgraph`."""
    command = Path(sys.executable).with_name("stepgraph")
    ended = subprocess.run(
        [command, "graph", "steps:graph"], cwd=served.folder, env=served.env, capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith("---\nconfig:")
