"""Suffixes and the gate, measured."""
