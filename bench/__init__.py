"""Measurements, one script for each part: `python -m bench.NAME [--quick] [--json FILE]`.

Peers and limits are measured in the same run, on data that the script makes or finds.
"""
