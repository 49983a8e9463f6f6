"""One module for each published dataset, in the files in which its makers published it."""
