"""Measurements: one script for each part, `python -m bench.NAME [--quick] [--json FILE]`, peers and limits in the same run."""
