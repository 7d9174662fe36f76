"""The teacher's search, measured."""
