"""Corrective retrieval: search a handbook, grade what was found, ask in other words if nothing fits, then answer.

A LangGraph graph, adopted. ``grade`` returns a ``Command`` that says where to go, and the state holds ``Document``s.

Run it: python examples/langgraph/corrective_rag.py bees-1
"""

import re
from typing import Literal

from fake_model import Script, arguments, call, chat_model, tell
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

import stepgraph

QUESTION = "Why do my bees hang in a clump at the front door?"

MAX_REWRITES = 2

HANDBOOK = [
    Document("A front door of two by ten centimetres keeps mice out in winter.", metadata={"page": 4}),
    Document("Bees hang in chains, a clump of wax between them, while they build comb.", metadata={"page": 11}),
    Document("Bearding: on hot evenings bees leave the crowded hive and sit outside it.", metadata={"page": 23}),
    Document("Bearding ends when the hive gets shade, more space or a second opening.", metadata={"page": 24}),
    Document("A swarm leaves with the old queen before noon, on a warm day in May.", metadata={"page": 31}),
]

SCRIPT: Script = [
    (r"^human: Is this passage.*Passage: Bearding", [call("Grade", relevant=True)]),
    (r"^human: Is this passage", [call("Grade", relevant=False)]),
    (r"^human: Nothing in the handbook", "bearding: bees outside a hot, crowded hive"),
    (r"^human: Answer.*p\. (?P<page>\d+)", "They cool the hive: that is bearding (p. {page}). Give it shade or space."),
    (r"^human: Answer", "The handbook does not say."),
]


class Handbook(BaseRetriever):
    """Finds the passages that share most words with a question."""

    passages: list[Document]
    top: int = 2

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        asked = _words(query)
        ranked = sorted(self.passages, key=lambda passage: -len(asked & _words(passage.page_content)))
        return ranked[: self.top]


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}


class Grade(BaseModel):
    """Whether a passage helps to answer the question."""

    relevant: bool = Field(description="True if the passage helps to answer the question.")


class State(TypedDict, total=False):
    """What the graph knows: the question as asked, the query as it is now, and the passages that are relevant."""

    question: str
    query: str
    rewrites: int
    found: list[Document]
    passages: list[Document]
    answer: str


retriever = Handbook(passages=HANDBOOK)
llm = chat_model(SCRIPT)
grader = llm.with_structured_output(Grade)


def retrieve(state: State) -> State:
    """Search for the query, which at first is the question."""
    query = state.get("query") or state["question"]
    tell(f"searches for: {query}")
    return {"query": query, "found": retriever.invoke(query)}


def grade(state: State) -> Command[Literal["rewrite", "generate"]]:
    """Keep the relevant passages; without one, ask in other words, but not for ever."""
    kept = [passage for passage in state["found"] if is_relevant(state["question"], passage)]
    tell(f"keeps {len(kept)} of {len(state['found'])} passages")
    is_enough = kept or state.get("rewrites", 0) >= MAX_REWRITES
    return Command(update={"passages": kept}, goto="generate" if is_enough else "rewrite")


def is_relevant(question: str, passage: Document) -> bool:
    """Ask the model about one passage."""
    prompt = f"Is this passage of use for the question: {question}\nPassage: {passage.page_content}"
    return grader.invoke(prompt).relevant


def rewrite(state: State) -> State:
    """Ask the model for other words."""
    prompt = f"Nothing in the handbook fits {state['query']!r}. Say in other words: {state['question']}"
    return {"query": llm.invoke(prompt).text, "rewrites": state.get("rewrites", 0) + 1}


def generate(state: State) -> State:
    """Answer from the passages that were kept, with their pages."""
    sources = "\n".join(f"p. {each.metadata['page']}: {each.page_content}" for each in state["passages"])
    answer = llm.invoke(f"Answer from these pages alone: {state['question']}\n{sources}").text
    tell("has written the answer")
    return {"answer": answer}


builder = StateGraph(State)
builder.add_node(retrieve)
builder.add_node(grade)
builder.add_node(rewrite)
builder.add_node(generate)
builder.add_edge(START, "retrieve")
builder.add_edge("retrieve", "grade")
builder.add_edge("rewrite", "retrieve")
builder.add_edge("generate", END)
graph = stepgraph.adopt(builder)


def main(thread_id: str) -> None:
    """Ask the question on a new thread. On a thread that was begun, go on where it is."""
    config = {"configurable": {"thread_id": thread_id}}
    begun = graph.get_state(config).created_at is not None
    print(f"Question: {QUESTION}")
    result = graph.invoke(None if begun else {"question": QUESTION}, config)
    print(f"Answer: {result['answer']}")
    print(f"Pages: {', '.join(str(passage.metadata['page']) for passage in result['passages'])}")


if __name__ == "__main__":
    main(arguments().thread)
