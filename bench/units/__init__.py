"""Sentences, measured."""
