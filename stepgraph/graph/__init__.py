"""Builds graphs, checks them, and runs them with LangGraph's methods.

Owns the API of authors: `StateGraph` and `CompiledGraph`, which users import from `stepgraph`. Refuses to know how a
graph is executed: a compiled graph passes each call to the process's session (`stepgraph.hosting.session`), which is
loaded at the first call.

Read first: `builder` (nodes and edges), `validation` (what makes a graph workable), then `compiled` (the methods).
"""
