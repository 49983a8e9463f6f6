"""The paper's figures: plot code that reads results and writes png, svg and the plotted numbers."""
