"""Stage ``train``: train one network a fold and seed, and bundle them.

The C library of Linux gives large blocks back to the system at once and takes them anew, each page cleared and mapped
by the kernel, which costs a convolution on a CPU a good part of its time.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core import config, files, machine, tables
from pipeline.core.dependencies import files_reached
from pipeline.dataset import inputs
from pipeline.dataset import table as dataset_table
from pipeline.dataset.inputs import Statistics
from pipeline.train import bundle, callbacks, devices, folds, models, registry
from pipeline.train import settings as train_settings
from pipeline.train.backend import keras
from pipeline.train.callbacks import Checkpoint
from pipeline.train.folds import Workbench
from pipeline.train.settings import Train, best_epoch

PACKAGES = ("ser-features", "keras", "tensorflow", "numpy", "scipy", "scikit-learn", "numba", "soxr", "soundfile")


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
    clips = tables.read_splits(source)
    settings, arch = config.section(Train, params, "train"), config.text(params, "model.arch")
    device = config.section(devices.Device, params, "device")
    folds, seeds = settings.chosen(sorted(clips["fold"].unique().tolist())), seeds_of(settings, params, arch)
    layout, stamp = dataset_table.layout_of(shards), str(files.read_json(audit, stage="split")["stamp"])
    with devices.spread(device.count) as spread, files.atomic_write(output) as part:
        check(clips, layout.shape, settings, device, params)
        table, own_key = dataset_table.open_table(shards, cache / "unpacked"), key(source, shards, params, cache)
        bench = Workbench(params, settings, device, spread)
        say(bench, clips, table, arch, stamp)
        done: dict[tuple[int, int], dict[str, Any]] = {}
        fitted: dict[str, Any] = {}
        for fold, seed in [(fold, seed) for fold in folds for seed in seeds]:
            print(f"fold {fold}, seed {seed} ({len(done) + 1} of {len(folds) * len(seeds)})", flush=True)
            task = task_of(clips[clips["fold"] == fold], table, settings, (seed, fold))
            name = bundle.place(fold, seed, seeds)
            checkpoint = Checkpoint(callbacks.checkpoint_path(cache, own_key, name), computed_by())
            trained, own = train_one(task, bench, checkpoint, first=seed == seeds[0])
            models.write_fold(part, name, trained)
            fitted[str(fold)] = {"mean": own.mean.tolist(), "variance": own.variance.tolist()}
            taught, size = len(task.taught(arch)[0]), trained.model.size
            done[fold, seed] = training_figures(trained.history, settings, rows=taught, judged=len(task.judged[0]))
        figures = summary(params, bench, size, fold_figures(done), stamp)
        bundle.write(part, card(part, clips, table, params, fitted, seeds, figures))
        files.write_json(training_headline(figures), metrics)
    callbacks.clear_checkpoints(cache, own_key)


def check(
    clips: pd.DataFrame, shape: tuple[int, int], settings: Train, device: devices.Device, params: Mapping[str, Any]
) -> None:
    """Refuse settings that cannot work on these clips and patches of this shape, before any is read.

    Raises:
        SettingError: a setting cannot work, or does not go with another.
    """
    registry.check(params, shape, len(clips.attrs["classes"]), statistics=inputs.neutral_statistics(shape[1]))
    folds.soft_labels(clips, settings, arch=config.get(params, "model.arch"))
    folds.check_shares(settings, device)


def seeds_of(settings: Train, params: Mapping[str, Any], arch: str) -> list[int]:
    """The seeds of the networks; an svm draws nothing, and has one."""
    seeds = settings.seeds or (config.seed(params),)
    return list(seeds[:1] if arch == train_settings.SVM else seeds)


def say(bench: Workbench, clips: pd.DataFrame, table: dataset_table.Table, arch: str, stamp: str) -> None:
    """Say what is trained on what, and what must be read before any number of it."""
    number = f" and {bench.spread.count - 1} more" if bench.spread.count > 1 else ""
    print(
        f"{arch} on {table.layout.view}, {keras.backend.backend()} on {devices.name()}{number}, "
        f"{bench.settings.precision}",
        *folds.soft_labels(clips, bench.settings, arch=arch),
        *([stamp] if stamp else []),
        sep="\n",
    )


def task_of(clips: pd.DataFrame, table: dataset_table.Table, settings: Train, seed: tuple[int, int]) -> folds.Task:
    """Gather what one network learns."""
    return folds.Task(table=table, clips=clips, classes=len(clips.attrs["classes"]), settings=settings, seed=seed)


def train_one(
    task: folds.Task, bench: Workbench, checkpoint: Checkpoint, *, first: bool
) -> tuple[models.Fold, Statistics]:
    """Train what ``model.arch`` names, the baseline beside the first of a fold; give what it standardises by."""
    arch = config.get(bench.params, "model.arch")
    machine = folds.fit_machine(task, registry.machine(bench.params)) if first else None
    if arch == train_settings.SVM and machine is not None:
        return models.Fold(machine, pd.DataFrame()), Statistics(machine.machine.mean, machine.machine.variance)
    network, history, fitted = bench.train(task, arch, checkpoint)
    return models.Fold(network, history, machine), fitted


def key(source: Path, shards: Sequence[Path], params: Mapping[str, Any], cache: Path) -> str:
    """Name all that the networks depend on: settings, rows, features, code."""
    code = [files.file_hash(path) for path in files_reached("pipeline.train.stage")]
    rows = [dataset_table.shard_hash(path, cache / "unpacked") for path in shards]
    return files.text_hash(told(params), files.file_hash(source), rows, code)


def computed_by() -> dict[str, str]:
    """Say what computes, as far as digits depend on it."""
    backend = keras.backend.backend()
    return {"backend": backend, "version": version(backend), "keras": version("keras"), "device": devices.name()}


def card(
    folder: Path,
    clips: pd.DataFrame,
    table: dataset_table.Table,
    params: Mapping[str, Any],
    fitted: Mapping[str, Any],
    seeds: Sequence[int],
    figures: Mapping[str, Any],
) -> bundle.Card:
    """Describe the bundle."""
    return bundle.Card(
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
        files=bundle.checksums(folder),
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
    keep_freed()
    params = config.read()
    view = train_settings.view_of(params)
    run(
        Path("data/clips.parquet"),
        [Path(f"features/{view}/{corpus}.parquet") for corpus in config.corpora(params)],
        Path("metrics/audit.json"),
        output=Path("models/trained"),
        metrics=Path("metrics/train.json"),
        params=params,
        cache=files.cache_folder(),
    )


SCORES = ("uar", "accuracy", "val_uar", "val_accuracy", "val_loss")


def training_figures(history: pd.DataFrame, settings: Train, *, rows: int, judged: int) -> dict[str, Any]:
    """What happened to one network; a model without epochs has none."""
    counts = {"train_rows": rows, "validation_rows": judged}
    if history.empty:
        return counts
    best = best_epoch(history, settings)
    last = history[history["epoch"] == best].iloc[0]
    scores = {name: round(float(last[name]), 4) for name in SCORES if name in history}
    return counts | {"epochs": len(history), "best_epoch": best} | scores


def fold_figures(done: Mapping[tuple[int, int], Mapping[str, Any]]) -> dict[str, Any]:
    """Lay out the figures by fold: those of the first seed and, of several, those of each and their spread.

    >>> fold_figures({(0, 1): {"val_uar": 0.5}, (0, 2): {"val_uar": 0.75}})["0"]["val_uar_sd"]
    0.1768
    """
    found: dict[str, Any] = {}
    for fold in sorted({fold for fold, _ in done}):
        seeds = {seed: dict(each) for (other, seed), each in done.items() if other == fold}
        found[str(fold)] = next(iter(seeds.values()))
        if len(seeds) > 1:
            found[str(fold)] = found[str(fold)] | spread(seeds)
    return found


def training_headline(figures: Mapping[str, Any]) -> dict[str, float]:
    """Give what ``metrics/train.json`` holds: the validation UAR, its mean over folds; nothing where none was judged.

    >>> training_headline({"folds": {"0": {"val_uar": 0.5}, "1": {"val_uar": 0.6, "val_uar_mean": 0.7}, "2": {}}})
    {'val_uar': 0.6}
    """
    each = [fold.get("val_uar_mean", fold.get("val_uar")) for fold in figures["folds"].values()]
    known = [value for value in each if value is not None]
    return {"val_uar": round(sum(known) / len(known), 4)} if known else {}


def spread(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and SD of the validation UAR over seeds, where there is one, and the figures of each."""
    values = pd.Series([each["val_uar"] for each in seeds.values() if "val_uar" in each], dtype=float)
    both = {"val_uar_mean": values.mean(), "val_uar_sd": values.std(ddof=1)} if len(values) else {}
    return {name: round(float(value), 4) for name, value in both.items()} | {
        "seeds": {str(seed): each for seed, each in seeds.items()}
    }


ALL = 2**31 - 1  # bytes
STEP = 2**26  # bytes taken from the system at once


def keep_freed() -> bool:
    """Have the C library of this process keep freed memory; return whether it can, which only glibc does.

    Call it before threads are made, or they have pools of their own.
    """
    options = {machine.ARENA_MAX: 1, machine.MMAP_MAX: 0, machine.TRIM_THRESHOLD: ALL, machine.TOP_PAD: STEP}
    return machine.set_malloc_options(options)
