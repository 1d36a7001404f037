"""``python -m pipeline.train``."""

from pipeline.core.machine import run_stage
from pipeline.train.stage import main

run_stage(main)
