"""Benchmarks of performance: ratios against what a user would otherwise run, both sides in one process."""
