"""A folder in which the real command extracts a corpus: ``python -m pipeline.extract``, start-up and all."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.corpus import ROOT, Corpus

ELSEWHERE = ("SER_STORE_URL", "SER_SCHEDULER")  # would send rows or work to other places


@dataclass(frozen=True)
class Workspace:
    """A folder with params.yaml and a manifest; cache and shards come into it."""

    folder: Path
    corpus: str

    @property
    def command(self) -> list[str]:
        """What to run, in ``folder``."""
        return [sys.executable, "-m", "pipeline.extract", self.corpus]

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, the cache within the folder, this code before any other."""
        own = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        return own | {"SER_CACHE_DIR": str(self.folder / "cache"), "PYTHONPATH": str(ROOT)}

    def use(self, manifest: Path) -> None:
        """Put another manifest in place."""
        target = self.folder / f"data/manifest/{self.corpus}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(manifest, target)


def furnish(folder: Path, source: Corpus, *, workers: int) -> Workspace:
    """Write params.yaml, the repository's but for the corpus and the workers, and put the manifest beside it."""
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["data"]["corpora"] = {source.name: str(source.folder.absolute())}
    params["execute"]["workers"] = workers
    folder.mkdir(parents=True)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    space = Workspace(folder, source.name)
    space.use(source.manifest)
    return space
