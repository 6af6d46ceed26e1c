"""Benchmarks: sonde beside its peers, in one run, interleaved; figures are medians and ratios."""
