"""Measurements of speed, memory and rounding; run from the repository's root as ``python -m benchmarks.NAME``."""
