"""Encoding, measured."""
