"""The only package that imports LangGraph.

`stores` opens LangGraph's stores. It is loaded by name, when a node asks for a store.
"""
