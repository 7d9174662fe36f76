"""Pages of keys and values beside the text that they stand for. `python -m bench.pages`."""
