"""Turns a DatasetSpec into sealed WebDataset shards with Blender."""
