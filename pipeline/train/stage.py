"""Stage ``train``: train one model for each fold and seed, and bundle them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.core import config, files, machine, tables
from pipeline.core.dependencies import dependency_files
from pipeline.dataset import inputs
from pipeline.dataset import table as dataset_table
from pipeline.dataset.inputs import Statistics
from pipeline.train import bundle, checkpoints, folds, models, svm
from pipeline.train import settings as train_settings
from pipeline.train.settings import SVM, Device, Train, best_epoch

if TYPE_CHECKING:
    from pipeline.train.trainer import FoldTrainer

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
    """Train on the splits in ``source``; write the bundle ``output``, without scores yet, and ``metrics``.

    Resumes an interrupted run from the checkpoints in ``cache``.

    Raises:
        StoreError: the shards lack rows of the splits.
        SettingError: a setting cannot work.
    """
    clips = tables.read_splits(source)
    settings, arch = config.read_section(Train, params, "train"), config.read_text_setting(params, "model.arch")
    device = config.read_section(Device, params, "device")
    chosen, seeds = settings.chosen(sorted(clips["fold"].unique().tolist())), _model_seeds(settings, params, arch)
    layout, stamp = dataset_table.read_layout(shards), str(files.read_json(audit, stage="split")["stamp"])
    with _open_trainer(params, settings, device) as trainer, files.atomic_write(output) as part:
        _check_settings(clips, layout.shape, settings, device, params)
        table, own_key = (
            dataset_table.open_table(shards, cache / "unpacked"),
            checkpoint_key(source, shards, params, cache),
        )
        _print_header(clips, table, settings, arch, trainer, stamp)
        done: dict[tuple[int, int], dict[str, Any]] = {}
        statistics: dict[str, Any] = {}
        for fold, seed in [(fold, seed) for fold in chosen for seed in seeds]:
            print(f"fold {fold}, seed {seed} ({len(done) + 1} of {len(chosen) * len(seeds)})", flush=True)
            data = folds.FoldData(table=table, clips=clips[clips["fold"] == fold], settings=settings, seed=(seed, fold))
            name = bundle.model_folder(fold, seed, seeds)
            checkpoint = checkpoints.checkpoint_path(cache, own_key, name)
            trained, own = _train_fold(data, params, trainer, checkpoint, first=seed == seeds[0])
            models.write_trained_fold(part / name, trained)
            statistics[str(fold)] = {"mean": own.mean.tolist(), "variance": own.variance.tolist()}
            rows, size = len(data.targets(arch)[0]), trained.model.size
            validated = len(data.validation[0])
            done[fold, seed] = _model_metrics(trained.history, settings, rows=rows, validated=validated)
        figures = _training_summary(params, settings, trainer, size, _metrics_by_fold(done), stamp)
        bundle.write_card(part, _bundle_card(part, clips, table, params, statistics, seeds, figures))
        files.write_json(_headline_metrics(figures), metrics)
    checkpoints.clear_checkpoints(cache, own_key)


@contextmanager
def _open_trainer(params: Mapping[str, Any], settings: Train, device: Device) -> Iterator["FoldTrainer | None"]:
    """Yield the trainer of networks, which share batches over devices; None for the svm."""
    if config.get_setting(params, "model.arch") == SVM:
        yield None
        return
    # Late: Keras and its backend take seconds to import, and the svm needs neither.
    from pipeline.train import devices
    from pipeline.train.trainer import FoldTrainer

    with devices.data_parallel(device.count) as replicas:
        yield FoldTrainer(params, settings, device, replicas)


def _check_settings(
    clips: pd.DataFrame, shape: tuple[int, int], settings: Train, device: Device, params: Mapping[str, Any]
) -> None:
    """Refuse settings that cannot work with these clips and patches of this shape, before any features are read.

    Raises:
        SettingError: a setting cannot work, or not with another one.
    """
    arch = config.get_setting(params, "model.arch")
    svm.svm_settings(params)
    if arch != SVM:
        from pipeline.train import architectures  # late: an svm is trained without Keras

        architectures.check_network(
            params, shape, len(clips.attrs["classes"]), statistics=inputs.neutral_statistics(shape[1])
        )
    folds.soft_label_lines(clips, settings, arch=arch)
    folds.check_batch_size(settings, device)


def _model_seeds(settings: Train, params: Mapping[str, Any], arch: str) -> list[int]:
    """Seeds of the models of a fold; nothing in an svm is random, so it has one."""
    seeds = settings.seeds or (config.read_seed(params),)
    return list(seeds[:1] if arch == SVM else seeds)


def _print_header(
    clips: pd.DataFrame,
    table: dataset_table.FeatureTable,
    settings: Train,
    arch: str,
    trainer: "FoldTrainer | None",
    stamp: str,
) -> None:
    """Print what is trained on which data and device, and the stamp."""
    where = ""
    if trainer is not None:
        backend, more = trainer.backend, trainer.replicas.count - 1
        where = f", {backend['backend']} on {backend['device']}{f' and {more} more' if more else ''}"
        where += f", {settings.precision}"
    print(
        f"{arch} on {table.layout.view}{where}",
        *folds.soft_label_lines(clips, settings, arch=arch),
        *([stamp] if stamp else []),
        sep="\n",
    )


def _train_fold(
    data: folds.FoldData, params: Mapping[str, Any], trainer: "FoldTrainer | None", checkpoint: Path, *, first: bool
) -> tuple[models.TrainedFold, Statistics]:
    """Train the model of one fold and seed, and with the first seed its baseline.

    Returns:
        The models, and the statistics that standardise the inputs of the first.
    """
    if trainer is None:
        model = folds.fit_fold_svm(data, svm.svm_settings(params))
        return models.TrainedFold(model, pd.DataFrame()), Statistics(model.fitted.mean, model.fitted.variance)
    baseline = folds.fit_fold_svm(data, svm.svm_settings(params)) if first else None
    network, history, statistics = trainer.train(data, config.get_setting(params, "model.arch"), checkpoint)
    return models.TrainedFold(network, history, baseline), statistics


def checkpoint_key(source: Path, shards: Sequence[Path], params: Mapping[str, Any], cache: Path) -> str:
    """Hash all that the training depends on: settings, splits, features, code."""
    code = [files.file_hash(path) for path in dependency_files("pipeline.train.stage")]
    rows = [dataset_table.cached_shard_hash(path, cache / "unpacked") for path in shards]
    return files.text_hash(_stage_params(params), files.file_hash(source), rows, code)


def _bundle_card(
    folder: Path,
    clips: pd.DataFrame,
    table: dataset_table.FeatureTable,
    params: Mapping[str, Any],
    statistics: Mapping[str, Any],
    seeds: Sequence[int],
    figures: Mapping[str, Any],
) -> bundle.Card:
    """Build the card of the bundle."""
    backend = {"backend": figures["backend"]} if "backend" in figures else {}
    return bundle.Card(
        arch=config.get_setting(params, "model.arch"),
        view=table.layout.view,
        labels=clips.attrs["classes"],
        folds=[int(fold) for fold in statistics],
        seeds=seeds,
        split=clips.attrs["split"],
        synthetic=clips.attrs["synthetic"],
        corpora={name: clips.attrs["corpora"][name] for name in sorted(clips["corpus"].unique())},
        layout=vars(table.layout),
        statistics=statistics,
        stamp=figures["stamp"],
        training=figures,
        params=_stage_params(params),
        versions={name: version(name) for name in PACKAGES} | backend,
        files=bundle.file_checksums(folder),
    )


def _stage_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that this stage depends on, and no others: those could be newer than the bundle."""
    arch, view = config.get_setting(params, "model.arch"), config.get_setting(params, "model.features")
    model = {
        "arch": arch,
        "features": view,
        **{name: config.get_setting(params, f"model.{name}") for name in (arch, SVM)},
    }
    return {"seed": params["seed"], "train": params["train"], "model": model}


def _training_summary(
    params: Mapping[str, Any],
    settings: Train,
    trainer: "FoldTrainer | None",
    size: int,
    each: Mapping[str, Any],
    stamp: str,
) -> dict[str, Any]:
    """Metrics of all folds, ``each``, and what trained them; ``speed`` differs from run to run."""
    found: dict[str, Any] = {
        "arch": config.get_setting(params, "model.arch"),
        "view": config.get_setting(params, "model.features"),
        "stamp": stamp,
    }
    if trainer is not None:
        found |= {
            "backend": trainer.backend["backend"],
            "device": trainer.backend["device"],
            "devices": trainer.replicas.count,
            "precision": settings.precision,
        }
    return found | {"parameters": size, "folds": each, "speed": {} if trainer is None else trainer.speed()}


def main() -> None:
    """Read params.yaml and train."""
    keep_freed_memory()
    params = config.read_params()
    view = train_settings.model_view(params)
    run(
        Path("data/clips.parquet"),
        [Path(f"features/{view}/{corpus}.parquet") for corpus in config.corpus_folders(params)],
        Path("metrics/audit.json"),
        output=Path("models/trained"),
        metrics=Path("metrics/train.json"),
        params=params,
        cache=files.cache_folder(),
    )


EPOCH_METRICS = ("uar", "accuracy", "val_uar", "val_accuracy", "val_loss")


def _model_metrics(history: pd.DataFrame, settings: Train, *, rows: int, validated: int) -> dict[str, Any]:
    """Metrics of one model at its best epoch; an svm has no epochs, only the numbers of rows."""
    counts = {"train_rows": rows, "validation_rows": validated}
    if history.empty:
        return counts
    best = best_epoch(history, settings)
    row = history[history["epoch"] == best].iloc[0]
    scores = {name: round(float(row[name]), 4) for name in EPOCH_METRICS if name in history}
    return counts | {"epochs": len(history), "best_epoch": best} | scores


def _metrics_by_fold(done: Mapping[tuple[int, int], Mapping[str, Any]]) -> dict[str, Any]:
    """Group the metrics by fold: those of the first seed and, with several, mean, SD and those of each seed.

    >>> _metrics_by_fold({(0, 1): {"val_uar": 0.5}, (0, 2): {"val_uar": 0.75}})["0"]["val_uar_sd"]
    0.1768
    """
    found: dict[str, Any] = {}
    for fold in sorted({fold for fold, _ in done}):
        seeds = {seed: dict(each) for (other, seed), each in done.items() if other == fold}
        found[str(fold)] = next(iter(seeds.values()))
        if len(seeds) > 1:
            found[str(fold)] = found[str(fold)] | _metrics_over_seeds(seeds)
    return found


def _headline_metrics(figures: Mapping[str, Any]) -> dict[str, float]:
    """Content of ``metrics/train.json``: the mean validation UAR over folds, nothing without validation rows.

    >>> _headline_metrics({"folds": {"0": {"val_uar": 0.5}, "1": {"val_uar": 0.6, "val_uar_mean": 0.7}, "2": {}}})
    {'val_uar': 0.6}
    """
    each = [fold.get("val_uar_mean", fold.get("val_uar")) for fold in figures["folds"].values()]
    known = [value for value in each if value is not None]
    return {"val_uar": round(sum(known) / len(known), 4)} if known else {}


def _metrics_over_seeds(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and SD of the validation UAR over seeds, if there is one, and the metrics of each seed."""
    values = pd.Series([each["val_uar"] for each in seeds.values() if "val_uar" in each], dtype=float)
    both = {"val_uar_mean": values.mean(), "val_uar_sd": values.std(ddof=1)} if len(values) else {}
    return {name: round(float(value), 4) for name, value in both.items()} | {
        "seeds": {str(seed): each for seed, each in seeds.items()}
    }


LARGEST = 2**31 - 1  # bytes
STEP = 2**26  # bytes taken from the system at once


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for this process; return whether it accepted.

    By default glibc returns large blocks to the system at once and requests them again, and the kernel clears and maps
    each page, which costs a convolution on a CPU a good part of its time. Other C libraries have no such setting. Call
    it before threads are started, or they get memory pools of their own.
    """
    options = {machine.ARENA_MAX: 1, machine.MMAP_MAX: 0, machine.TRIM_THRESHOLD: LARGEST, machine.TOP_PAD: STEP}
    return machine.set_malloc_options(options)
