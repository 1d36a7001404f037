"""Train one network a fold and seed, and bundle them: ``python -m pipeline.stages.train``."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import config
from pipeline.networks import devices, names, registry
from pipeline.networks.backend import keras
from pipeline.networks.settings import Train
from pipeline.serving import bundle
from pipeline.serving import card as cards
from pipeline.stages import entry, learning, logbook, memory, workbench
from pipeline.stages.workbench import Workbench
from pipeline.store import checkpoints, files, mapped, roles, statistics
from pipeline.store.checkpoints import Checkpoint
from pipeline.store.statistics import Statistics

PACKAGES = ("ser-features", "keras", "tensorflow", "numpy", "scipy", "scikit-learn", "numba", "soxr", "soundfile")
CODE = ("networks/*.py", "store/batches.py", "stages/workbench.py")  # what the weights depend on besides settings


def run(
    source: Path,
    shards: Sequence[Path],
    audit: Path,
    *,
    output: Path,
    metrics: Path,
    params: Mapping[str, Any],
    cache: Path,
) -> None:
    """Train on the roles of ``source``; write the bundle ``output``, without scores yet, and the headline ``metrics``.

    What was trained before this process was killed is gone on with, from ``cache``.

    Raises:
        StoreError: the shards lack rows that the split names.
        SettingError: a parameter cannot work.
    """
    clips = roles.read(source)
    settings, arch = config.section(Train, params, "train"), config.text(params, "model.arch")
    device = config.section(devices.Device, params, "device")
    folds, seeds = settings.chosen(sorted(clips["fold"].unique().tolist())), seeds_of(settings, params, arch)
    layout, stamp = mapped.layout_of(shards), str(files.read_json(audit, stage="split")["stamp"])
    with devices.spread(device.count) as spread, files.aside(output) as part:
        check(clips, layout.shape, settings, device, params)
        table, own_key = mapped.open_table(shards, cache / "unpacked"), key(source, shards, params, cache)
        bench = Workbench(params, settings, device, spread)
        say(bench, clips, table, arch, stamp)
        done: dict[tuple[int, int], dict[str, Any]] = {}
        fitted: dict[str, Any] = {}
        for fold, seed in [(fold, seed) for fold in folds for seed in seeds]:
            print(f"fold {fold}, seed {seed} ({len(done) + 1} of {len(folds) * len(seeds)})", flush=True)
            task = task_of(clips[clips["fold"] == fold], table, settings, (seed, fold))
            name = cards.place(fold, seed, seeds)
            checkpoint = Checkpoint(checkpoints.path(cache, own_key, name), computed_by())
            trained, own = train_one(task, bench, checkpoint, first=seed == seeds[0])
            bundle.write_fold(part, name, trained)
            fitted[str(fold)] = {"mean": own.mean.tolist(), "variance": own.variance.tolist()}
            taught, size = len(task.taught(arch)[0]), trained.model.size
            done[fold, seed] = logbook.figures(trained.history, settings, rows=taught, judged=len(task.judged[0]))
        figures = summary(params, bench, size, logbook.folds(done), stamp)
        cards.write(part, card(part, clips, table, params, fitted, seeds, figures))
        files.write_json(logbook.headline(figures), metrics)
    checkpoints.clear(cache, own_key)


def check(
    clips: pd.DataFrame, shape: tuple[int, int], settings: Train, device: devices.Device, params: Mapping[str, Any]
) -> None:
    """Refuse settings that cannot work on these clips and patches of this shape, before any is read.

    Raises:
        SettingError: a setting cannot work, or does not go with another.
    """
    registry.check(params, shape, len(clips.attrs["classes"]), statistics=statistics.neutral(shape[1]))
    learning.soft_labels(clips, settings, arch=config.get(params, "model.arch"))
    workbench.check_shares(settings, device)


def seeds_of(settings: Train, params: Mapping[str, Any], arch: str) -> list[int]:
    """The seeds of the networks; an svm draws nothing, and has one."""
    seeds = settings.seeds or (config.seed(params),)
    return list(seeds[:1] if arch == names.SVM else seeds)


def say(bench: Workbench, clips: pd.DataFrame, table: mapped.Table, arch: str, stamp: str) -> None:
    """Say what is trained on what, and what must be read before any number of it."""
    number = f" and {bench.spread.count - 1} more" if bench.spread.count > 1 else ""
    print(
        f"{arch} on {table.layout.view}, {keras.backend.backend()} on {devices.name()}{number}, "
        f"{bench.settings.precision}",
        *learning.soft_labels(clips, bench.settings, arch=arch),
        *([stamp] if stamp else []),
        sep="\n",
    )


def task_of(clips: pd.DataFrame, table: mapped.Table, settings: Train, seed: tuple[int, int]) -> learning.Task:
    """Gather what one network learns."""
    return learning.Task(table=table, clips=clips, classes=len(clips.attrs["classes"]), settings=settings, seed=seed)


def train_one(
    task: learning.Task, bench: Workbench, checkpoint: Checkpoint, *, first: bool
) -> tuple[bundle.Fold, Statistics]:
    """Train what ``model.arch`` names, the baseline beside the first of a fold; give what it standardises by."""
    arch = config.get(bench.params, "model.arch")
    machine = learning.fit_machine(task, registry.machine(bench.params)) if first else None
    if arch == names.SVM and machine is not None:
        return bundle.Fold(machine, pd.DataFrame()), Statistics(machine.machine.mean, machine.machine.variance)
    network, history, fitted = bench.train(task, arch, checkpoint)
    return bundle.Fold(network, history, machine), fitted


def key(source: Path, shards: Sequence[Path], params: Mapping[str, Any], cache: Path) -> str:
    """Name all that the networks depend on: settings, rows, features, code."""
    package = Path(__file__).parents[1]
    code = [files.file_hash(path) for pattern in CODE for path in sorted(package.glob(pattern))]
    rows = [mapped.shard_hash(path, cache / "unpacked") for path in shards]
    return files.text_hash(told(params), files.file_hash(source), rows, code)


def computed_by() -> dict[str, str]:
    """Say what computes, as far as digits depend on it."""
    backend = keras.backend.backend()
    return {"backend": backend, "version": version(backend), "keras": version("keras"), "device": devices.name()}


def card(
    folder: Path,
    clips: pd.DataFrame,
    table: mapped.Table,
    params: Mapping[str, Any],
    fitted: Mapping[str, Any],
    seeds: Sequence[int],
    figures: Mapping[str, Any],
) -> cards.Card:
    """Describe the bundle."""
    return cards.Card(
        arch=config.get(params, "model.arch"),
        view=table.layout.view,
        labels=clips.attrs["classes"],
        folds=[int(fold) for fold in fitted],
        seeds=seeds,
        split=clips.attrs["split"],
        synthetic=clips.attrs["synthetic"],
        corpora={name: clips.attrs["corpora"][name] for name in sorted(clips["corpus"].unique())},
        layout=vars(table.layout),
        statistics=fitted,
        stamp=figures["stamp"],
        training=figures,
        params=told(params),
        versions={name: version(name) for name in PACKAGES} | {"backend": keras.backend.backend()},
        files=cards.checksums(folder),
    )


def told(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that this stage depends on, and no others: those could be newer than the bundle."""
    arch, view = config.get(params, "model.arch"), config.get(params, "model.features")
    model = {"arch": arch, "features": view, **{name: config.get(params, f"model.{name}") for name in (arch, "svm")}}
    return {"seed": params["seed"], "train": params["train"], "model": model}


def summary(
    params: Mapping[str, Any], bench: Workbench, size: int, folds: Mapping[str, Any], stamp: str
) -> dict[str, Any]:
    """The figures of all folds; those of ``speed`` are other ones each time."""
    return {
        "arch": config.get(params, "model.arch"),
        "view": config.get(params, "model.features"),
        "stamp": stamp,
        "backend": keras.backend.backend(),
        "device": devices.name(),
        "devices": bench.spread.count,
        "precision": bench.settings.precision,
        "parameters": size,
        "folds": folds,
        "speed": bench.speed(),
    }


def main() -> None:
    """Read params.yaml and train."""
    memory.keep_freed()
    params = config.read()
    view = names.view(params)
    run(
        Path("data/clips.parquet"),
        [Path(f"features/{view}/{corpus}.parquet") for corpus in config.corpora(params)],
        Path("metrics/audit.json"),
        output=Path("models/trained"),
        metrics=Path("metrics/train.json"),
        params=params,
        cache=files.cache_folder(),
    )


if __name__ == "__main__":
    entry.stage(main)
