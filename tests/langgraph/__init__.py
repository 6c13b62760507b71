"""Graphs that LangGraph built, run here and in LangGraph: both must do the same."""
