"""Serialization: values of declared types to JSON data and back, with proof that nothing is lost on the way.

Owns the conversion, the strict equality that proves it, the size of JSON data and the size limits of payloads. Refuses
to know channels, graphs, threads and Temporal's API; of Temporal it knows only how large a payload may be.

Two terms are used throughout. *JSON data* is what `json.loads` returns: dict, list, str, int, float, bool, None. *JSON
text* is the same data as UTF-8 bytes.

Read in this order:

1. `type_codec`: `TypeCodec` converts the values of one declared type.
2. `equality`: the comparison behind the proof, and the reuse of items that did not change.
3. `tagged_values`: `TaggedCodec` converts values whose type nothing declares; its data says their class.
4. `plain_json`: values without a declared type that have to be JSON data.
5. `json_values`: the values of a whole state as JSON text.
6. `sizes`: the limits, and the error for what exceeds them.

These are helped by `core_schema`, which inspects pydantic's schemas, by `error_text`, which writes types and errors as
messages quote them, and by the tables of `tagged_values`: `tagged_kinds` has Python's own classes, `langchain_kinds`
LangChain's, `class_kinds` those that a graph's author names, each by its `stable_name`; `declared_classes` finds these
in annotations. `open_schemas` brings the two codecs together: it has the parts of a type that are `Any`, for example,
converted with tags.
"""
