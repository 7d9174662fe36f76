"""Commands of the extra `mnemic[pipeline]`; `mnemic.command` loads them by name."""
