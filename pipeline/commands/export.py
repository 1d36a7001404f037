"""``ser-features export``: a bundle that runs without Keras."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import NAMED

if TYPE_CHECKING:
    from pipeline.serving.agreement import Array

TARGETS = ("onnx", "litert", "litert-int8")  # the names of export.TARGETS, known before that is imported
TOLERANCE = "The largest difference of probabilities let through.  [default: 0.0001, of litert-int8 0.1]"


@click.command()
@click.argument("clips", nargs=-1)
@click.option("--to", "targets", type=click.Choice(TARGETS), multiple=True, required=True, help="May be repeated.")
@click.option("--model", type=NAMED, default=Path("models/bundle"), show_default=True)
@click.option(
    "-o", "--output", type=NAMED, default=Path("models/export"), show_default=True,
    help="Each format becomes a bundle in a folder of its name there.",
)  # fmt: skip
@click.option("--tolerance", type=click.FloatRange(min=0), help=TOLERANCE)
def export(
    clips: tuple[str, ...], targets: tuple[str, ...], *, model: Path, output: Path, tolerance: float | None
) -> None:
    """Write a trained bundle for ONNX Runtime or LiteRT, and compare it with the networks of Keras.

    What is written is run on CLIPS and let go only if it gives the same probabilities. CLIPS are audio files, folders
    and quoted patterns; without any, 64 test clips of the pipeline's own data are taken. litert-int8 is calibrated on
    every other one: name clips like those that it will hear.
    """
    from pipeline.serving import quiet  # late: --help starts in a blink

    with quiet.startup():
        from pipeline.serving import agreement, conversion
        from pipeline.serving import export as work
        from pipeline.store import outputs

        conversion.one_thread()
    for target in targets:
        outputs.refuse_taken(work.to_write(output / target), [model])
    samples = inputs(clips, model)
    made = work.originals(model, samples)
    for target in dict.fromkeys(targets):
        made += work.export(model, output / target, target=target, samples=samples, tolerance=tolerance)
    click.echo("\n".join(agreement.lines(agreement.table(made, len(samples)))))
    click.echo("\n".join(f"Written to {output / target}" for target in dict.fromkeys(targets)))


def inputs(clips: tuple[str, ...], model: Path) -> "Array":
    """Make the inputs of a bundle from the recordings that are named, or from test clips."""
    from pipeline import config
    from pipeline.corpora import formats, gather
    from pipeline.serving import card, hearing, samples

    paths = list(gather.gather(clips).values()) if clips else samples.unheard(config.read())
    unread = formats.unread(paths)
    if unread and len(unread) < len(paths):  # of those alone the first is refused
        click.echo("\n".join(formats.told(unread)), err=True)
        paths = [path for path in paths if path not in unread]
    return samples.values(paths, hearing.of(card.read(model), name=str(model)))
