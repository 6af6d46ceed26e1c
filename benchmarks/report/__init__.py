"""What is made of results: the page and its plots, the figures in READMEs, and the costs that probes declare."""
