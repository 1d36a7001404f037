"""Benchmarks: two implementations measured alternately in one run (``make bench``)."""

import pipeline  # noqa: F401  ignores settings of the machine, as every program of the project
