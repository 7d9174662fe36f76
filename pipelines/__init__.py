"""Which steps, in what order, on which engine: sources, recipe -> steps -> plan -> run."""
