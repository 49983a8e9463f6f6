"""What `gr3d` does with datasets, a module for each group of commands; `benchmark/cli.py` puts them together.

Modules are imported with every command, so that what is slow to import is imported in the function that needs it.
"""
