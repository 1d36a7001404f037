"""``python -m pipeline.evaluate``."""

from pipeline.core.machine import run_stage
from pipeline.evaluate.stage import main

run_stage(main)
