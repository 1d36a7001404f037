"""``python -m pipeline.report``."""

from pipeline.core.machine import run_stage
from pipeline.report.stage import main

run_stage(main)
