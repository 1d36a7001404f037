"""``python -m pipeline.extract``."""

from pipeline.core.machine import run_stage
from pipeline.extract.stage import main

run_stage(main)
