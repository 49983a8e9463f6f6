"""Datasets as in-memory tables of decoded images, and batched views (augmentations) of them."""

from benchmark.data.table import LATENT_NAMES, ImageTable, load_table

__all__ = ["LATENT_NAMES", "ImageTable", "load_table"]
