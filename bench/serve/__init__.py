"""A served bank, measured."""
