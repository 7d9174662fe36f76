"""Retriever imitation, measured."""
