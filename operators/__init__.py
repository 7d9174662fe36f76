"""What happens to the data: Arrow, numpy and torch in, the same out. No I/O but loading a model."""
