"""Commands of the extra `mnemic[pipeline]`; they join `mnemic` through the entry-point group `mnemic.commands`."""
