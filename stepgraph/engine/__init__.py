"""The engine: decides which tasks of a graph are due, and makes the checkpoint that follows from their results.

Owns a thread's checkpoints, the outcomes of its tasks, interrupts, breakpoints, updates, forks, and the record from
which a later run restores the thread. It works on a graph's spec and on JSON data alone. Refuses to know Temporal, any
code of a graph, clients, clocks, randomness and I/O: the caller passes in the time, and runs the tasks. The same input
always makes the same checkpoints, as the replay of a workflow needs, whatever a graph's code has become meanwhile.

Read in this order:

1. `spec`: a graph as data, with the fold of each channel; `folds`: the built-in ones.
2. `checkpoint`: checkpoints, tasks, results, failures and interrupts as data; `ids`; `task_outcomes` collects outcomes.
3. `folding` and `changes`: the values after a super-step; `plan`: the tasks that follow; `commit`: the next checkpoint.
4. `thread_view` and `thread`: one run of a thread, read and driven. The workflow and the in-memory runner use these.
5. `state_update`: checkpoints made by an update or a fork; `failures`: what is recorded of a failed task.
6. `record`: what a run leaves for the next; `recent_history` adds the latest checkpoints of a long run, each stored as
   its `difference` from the next.

Modules whose names begin with an underscore are private to this package.
"""
