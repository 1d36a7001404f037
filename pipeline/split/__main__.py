"""``python -m pipeline.split``."""

from pipeline.core.machine import run_stage
from pipeline.split.stage import main

run_stage(main)
