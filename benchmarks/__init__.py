"""Ratios measured side by side in one run: ``make bench``."""

import pipeline  # noqa: F401  settings of the machine stay out, as of any program of ours
