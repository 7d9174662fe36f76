"""Texts read by a language model: what is wrong with settings, and how surprising each token is."""
