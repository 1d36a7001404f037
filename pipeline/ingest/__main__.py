"""``python -m pipeline.ingest``."""

from pipeline.core.machine import run_stage
from pipeline.ingest.stage import main

run_stage(main)
