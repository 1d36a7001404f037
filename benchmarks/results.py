"""results.json: what was measured, then on which machine, when and by which command. No path and no host name."""

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
from pipeline.core import extras
from pipeline.core.machine import cores

with extras.needed("dev"):
    import psutil

RESULTS = Path(__file__).with_name("results.json")
PACKAGES = (
    "joblib", "keras", "librosa", "llvmlite", "numba", "numpy", "pandas", "pyarrow", "scipy", "soundfile", "soxr",
)  # fmt: skip
SYNTHETIC = "the demo's synthetic speech: not the figures of recorded speech"


def read(path: Path = RESULTS) -> dict[str, Any]:
    """Read what was measured before; nothing where nothing was, or in another form."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "runs" in found else {}


def write(results: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Write results."""
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def merge(before: Mapping[str, Any], new: Mapping[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    """Put new parts in the place of old ones; those of another machine go."""
    old = before if before.get("machine") == new["machine"] else {}
    parts = {name: each[name] for name in order for each in (old, new) if name in each}
    runs = old.get("runs", {}) | new["runs"]
    return parts | {"machine": new["machine"], "runs": {name: runs[name] for name in order if name in runs}}


def machine() -> dict[str, Any]:
    """Describe this machine as far as times depend on it."""
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def processor() -> str:
    """Name the processor as Linux has it, or as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def about(job: Job, seconds: float) -> dict[str, Any]:
    """Say how a part was run."""
    return {
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds),
        "clips": {each.name: corpus.count(each) for each in job.corpora},
        "audio": SYNTHETIC if corpus.is_synthetic() else "recorded speech",
    }
