"""What takes files apart, in a process of its own: see `pipelines.sources.parsers.process`.

A module here has `parts(data, settings)`, which yields the parts of a file as (what is stated of it, text), and imports
its library there, since only the process that parses needs it.
"""
