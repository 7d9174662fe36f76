"""Texts that a bank plants in itself, to see later which memories have learned them by heart."""
