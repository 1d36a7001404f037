"""``python -m pipeline.demo``."""

from pipeline.core.machine import run_stage
from pipeline.demo.stage import main

run_stage(main)
