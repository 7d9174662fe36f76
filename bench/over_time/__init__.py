"""Banks that are built many times: bytes on the disk, and the cost of the next build."""
