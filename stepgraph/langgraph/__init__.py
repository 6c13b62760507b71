"""LangGraph's graphs and stores here: the only package that imports LangGraph.

Owns the reading of a compiled graph (`graph_reader`, `channel_folds`, `value_classes`), and the running of its nodes
(`pregel_task`, `pregel_config`). Refuses to know super-steps, checkpoints and Temporal: a graph that was taken over is
a registry as any other, whose nodes a `TaskCode` runs. `stores` opens LangGraph's stores; it is loaded by name, when a
node asks for a store.

Read first: `taken_over`, then `pregel_task`.
"""
