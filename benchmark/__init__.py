"""gr3d's benchmark: trains networks on renders and reads every layer with linear regressors."""
