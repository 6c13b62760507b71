"""The messages that clients, workflows and activities exchange, and the snapshots that users read.

Owns the shape and the JSON form of every message, the names under which Temporal finds its receiver, and the parsing of
what callers pass to `invoke`, `update_state` and the other methods. Refuses to know Temporal, user code and settings:
nothing here sends a message or calls a node.

Read in this order:

1. `names` and `message`: the addresses, and the base class of messages.
2. `commands`, `start_options` and `opening`: what a client asks of a thread, and how a run begins.
3. `task_request`, `fused_run` and `activity_input`: the arguments and results of the activities that run nodes.
4. `queries`, `paging` and `snapshot`: how a thread is read.
5. `config`, `interrupts`, `send`, `method_keywords` and `method_arguments`: what callers pass, and the commands made of
   it. `langgraph_objects` and `command_parts` read what a node may return, too.
6. `thread_errors`: the errors that several of the receivers raise alike.
"""
