"""Where objects come from: catalogues of model files and of procedural families."""
