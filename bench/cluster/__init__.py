"""The tree of clusters, measured."""
