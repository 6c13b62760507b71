"""LangGraph's own tests, run against stepgraph: ``make parity``.

Owns fetching the tests, running them in a process of their own, and the verdict on each. What stands between a test and
stepgraph is in `adapter`; which tests differ, and why, is in ``known_differences.toml``.
"""
