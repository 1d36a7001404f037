"""results.json: the measurements, with machine, date and command, but without paths and host names."""

import json
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import corpus
from benchmarks.corpus import Job
from pipeline.core import errors
from pipeline.core.machine import available_cores

with errors.require_extra("dev"):
    import psutil

RESULTS = Path(__file__).with_name("results.json")
PACKAGES = (
    "joblib", "keras", "librosa", "llvmlite", "numba", "numpy", "pandas", "pyarrow", "scipy", "soundfile", "soxr",
)  # fmt: skip
SYNTHETIC = "the demo's synthetic speech: not the figures of recorded speech"


def read(path: Path = RESULTS) -> dict[str, Any]:
    """Read earlier results; empty if there are none, or in another format."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "runs" in found else {}


def write(results: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Write results."""
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def merge(before: Mapping[str, Any], new: Mapping[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    """Replace old parts by new ones, and drop those of another machine."""
    old = before if before.get("machine") == new["machine"] else {}
    parts = {name: each[name] for name in order for each in (old, new) if name in each}
    runs = old.get("runs", {}) | new["runs"]
    return parts | {"machine": new["machine"], "runs": {name: runs[name] for name in order if name in runs}}


def machine() -> dict[str, Any]:
    """Describe what times depend on: hardware and package versions."""
    return {
        "processor": processor(),
        "cores": available_cores(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def processor() -> str:
    """Return the name of the processor, from Linux or else from Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def about(job: Job, seconds: float) -> dict[str, Any]:
    """Record how a part was run."""
    return {
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds),
        "clips": {each.name: corpus.count(each) for each in job.corpora},
        "audio": SYNTHETIC if corpus.is_synthetic() else "recorded speech",
    }
