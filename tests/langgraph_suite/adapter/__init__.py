"""What stands between a test of LangGraph and stepgraph. It runs in the process of the tests, as a plugin of pytest.

A test imports its names through `changed_imports`; `ours` and `adopted` say what they stand for in each mode. `surface`
has LangGraph's methods on top of `MemoryRunner`; `presentation` has all differences that are translated.
"""
