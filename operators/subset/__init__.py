"""A share of the documents that stands for all: by the cluster tree, and at random beside it."""
