"""Deduplication, measured."""
