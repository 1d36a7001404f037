"""Stage ``split``: assign folds, roles and labels to all clips, and audit the leakage."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePath

import pandas as pd

from pipeline.core import config, files, tables
from pipeline.core.labels import ORIGINAL, Labels
from pipeline.signal.settings import Augment, variant_names
from pipeline.split import alternatives, folds, leakage, rows


def run(
    manifests: Sequence[Path], output: Path, audit: Path, *, split: folds.Split, variants: Sequence[str], seed: int
) -> pd.DataFrame:
    """Write the splits and the leakage audit, stamped with a warning if scores are not valid; return the splits.

    Raises:
        StoreError: a manifest is missing.
        SettingError: the clips cannot be split as requested; the message says what they lack, and what is possible.
    """
    frames = [tables.read_manifest(path) for path in manifests]
    clips = pd.concat([_usable_with_copies(frame) for frame in frames], ignore_index=True)
    table = alternatives.split_or_suggest(clips, split, variants=variants, seed=seed)
    classes = [name for name in split.labels.classes if name in set(table["label"])]
    figures = leakage.audit_leakage(_join_audit_columns(table, clips), protocol=split.protocol)
    kinds = _group_by_origin(frames)
    about = {frame["corpus"].iloc[0]: frame.attrs["about"] for frame in frames}
    synthetic = kinds["synthetic"]
    tables.write_splits(table, output, classes=classes, synthetic=synthetic, split=asdict(split), corpora=about)
    stamp = leakage.warning_stamp(figures | {"synthetic": dict.fromkeys(synthetic, True), "shuffled": split.shuffle})
    unused = count_left_out(clips, table, split.labels)
    files.write_json({"stamp": stamp} | figures | {"left_out": unused}, audit)
    lines = [
        _summarise_folds(table, classes),
        *_describe_label_source(clips, table, split.labels, unused),
        *_describe_gaps(table, classes),
    ]
    print("\n".join([*lines, *([stamp] if stamp else [])]))
    _warn_mixed(**kinds)
    return table


def _usable_with_copies(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the usable clips of a manifest, with the number of copies of each recording as ``times``."""
    copies = frame.loc[frame["status"] == "duplicate", "samples_sha256"].value_counts()
    clips = tables.usable_clips(frame)
    return clips.assign(times=1 + clips["samples_sha256"].map(copies).fillna(0).astype(int))


def _join_audit_columns(table: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Join the columns needed by the audit to the splits."""
    columns = clips[["clip_id", "samples_sha256", "statement"]].copy()
    columns["name"] = [PurePath(path).stem.lower() for path in clips["path"]]
    return table.merge(columns, on="clip_id", validate="many_to_one")


def count_left_out(clips: pd.DataFrame, table: pd.DataFrame, labels: Labels) -> dict[str, int]:
    """Count the usable clips that are in no fold, each by one reason."""
    used = clips["clip_id"].isin(table["clip_id"])
    repeated = clips["clip_id"].isin(rows.deduplicate_clips(clips)[1]["clip_id"])
    winners = pd.Series([len(choice) for choice in rows.perceived_emotions(clips, labels)], index=clips.index)
    tied = (winners > 1) & (labels.ties != "intended")
    reasons = {"duplicates_across_corpora": repeated, "no_votes": winners == 0, "ties": tied, "label_scheme": ~used}
    counts = {}
    for name, found in reasons.items():
        counts[name] = int((found & ~used).sum())
        used = used | found
    return counts


def _describe_label_source(
    clips: pd.DataFrame, table: pd.DataFrame, labels: Labels, unused: Mapping[str, int]
) -> list[str]:
    """Describe the source of the labels and the clips left out for it; nothing for intended emotions."""
    if labels.source == "intended":
        return []
    rated = rows.corpora_with_votes(clips, labels)
    others = sorted(set(clips["corpus"]) - rated)
    intended = f"; no votes in {', '.join(others)}: the intended emotion" if others else ""
    tied = table.loc[table["label"].isna(), "clip_id"].nunique()
    train = f", {tied} ties train on their votes alone" if tied else ""
    return [
        f"labels by most listeners ({labels.source}) in {', '.join(sorted(rated))}{intended}",
        f"left out: {unused['ties']} ties, {unused['no_votes']} without votes{train}",
    ]


def _summarise_folds(table: pd.DataFrame, classes: Sequence[str]) -> str:
    """Summarise the number of clips by fold and role."""
    originals = table[table["variant"] == ORIGINAL]
    counts = pd.crosstab(originals["fold"], originals["role"])
    lines = [f"{table['clip_id'].nunique()} clips, {len(classes)} classes: {', '.join(classes)}", counts.to_string()]
    return "\n".join(lines)


def _describe_gaps(table: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """Describe the folds that lack classes in training, or validation speakers."""
    found = []
    for fold, part in table.groupby("fold"):
        missing = [name for name in classes if name not in set(part.loc[part["role"] == "train", "label"])]
        if missing:
            found.append(f"fold {fold}: nobody in training says {', '.join(missing)}")
        if not (part["role"] == "validation").any():
            found.append(f"fold {fold}: no speaker is left to validate, so it trains for all epochs and keeps the last")
    return found


def _group_by_origin(frames: Sequence[pd.DataFrame]) -> dict[str, list[str]]:
    """Divide the corpora into synthetic and recorded ones."""
    synthetic = {frame["corpus"].iloc[0]: frame.attrs["synthetic"] for frame in frames}
    return {
        "synthetic": [name for name, made in synthetic.items() if made],
        "recorded": [name for name, made in synthetic.items() if not made],
    }


def _warn_mixed(*, synthetic: Sequence[str], recorded: Sequence[str]) -> None:
    """Warn if synthetic and recorded speech would be scored together."""
    if synthetic and recorded:
        options = " ".join(f"-S '~data.corpora.{name}'" for name in synthetic)
        print(
            f"WARNING: {', '.join(synthetic)} (the demo's synthetic speech) beside recorded {', '.join(recorded)}: "
            f"every number over both is stamped. Take it out with: dvc exp run {options}"
        )


def main() -> None:
    """Read params.yaml and split the corpora named there."""
    params = config.read_params()
    run(
        [Path(f"data/manifest/{corpus}.parquet") for corpus in config.corpus_folders(params)],
        Path("data/clips.parquet"),
        Path("metrics/audit.json"),
        split=config.read_section(folds.Split, params, "split"),
        variants=variant_names(config.read_section(Augment, params, "augment")),
        seed=config.read_seed(params),
    )
