"""The figures and tables of the paper, each file a study and how it is drawn; listed in catalog.py."""
