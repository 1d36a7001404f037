"""A folder in which ``python -m pipeline.extract`` extracts a corpus."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.corpus import ROOT, Corpus

ELSEWHERE = ("SER_STORE_URL", "SER_SCHEDULER")  # would use another cache or other workers


@dataclass(frozen=True)
class Workspace:
    """A folder with params.yaml and a manifest, in which the command writes cache and shards."""

    folder: Path
    corpus: str

    @property
    def command(self) -> list[str]:
        """The command to run in `folder`."""
        return [sys.executable, "-m", "pipeline.extract", self.corpus]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process, with the cache in the folder and this code first on the path."""
        own = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        return own | {"SER_CACHE_DIR": str(self.folder / "cache"), "PYTHONPATH": str(ROOT)}

    def use(self, manifest: Path) -> None:
        """Replace the manifest."""
        target = self.folder / f"data/manifest/{self.corpus}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(manifest, target)


def furnish(folder: Path, source: Corpus, *, workers: int) -> Workspace:
    """Create a workspace with the repository's params.yaml, changed to this corpus and number of workers."""
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
