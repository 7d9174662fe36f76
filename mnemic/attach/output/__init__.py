"""Where a memory enters at the output: p = (1 - sum of weights) p_model + sum of weight p_memory, token by token."""
