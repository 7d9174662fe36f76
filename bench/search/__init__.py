"""Hybrid search, measured."""
