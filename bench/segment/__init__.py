"""Segmentation, measured."""
