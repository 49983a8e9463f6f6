"""Reads frozen networks layer by layer with exact linear regressors."""
