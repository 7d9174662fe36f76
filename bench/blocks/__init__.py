"""Hierarchical feed-forward blocks: against a block for all topics, another topic's, and LoRA; and what they cost."""
