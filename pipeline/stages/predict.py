"""Judge many recordings with trained bundles: features in worker processes, models in this one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from pipeline.errors import AudioError
from pipeline.serving.answers import Answer
from pipeline.serving.heard import Heard, Plan, hear
from pipeline.serving.hearing import Hearing
from pipeline.serving.predictor import Predictor
from pipeline.stages import batch, crew
from pipeline.store import audio

TOGETHER = 64  # recordings judged at once
FEW = 48  # recordings that are heard sooner than worker processes start


@dataclass(frozen=True)
class Source:
    """A recording to judge: a file, or bytes that came another way."""

    name: str
    path: Path | None = None
    data: bytes = b""

    def read(self) -> audio.Recording:
        """Decode it.

        Raises:
            AudioError: it holds no usable sound.
        """
        return audio.decode(self.data, name=self.name) if self.path is None else audio.fetch(self.path)


def predict(
    sources: Sequence[Source], predictor: Predictor, plan: Plan, *, processes: int, failures: list[str]
) -> Iterator[Answer]:
    """Judge recordings in their order; a bad file stops nothing but itself.

    Args:
        sources: the recordings.
        predictor: who judges.
        plan: what is heard in windows.
        processes: how many to start where there are many recordings; they change no number.
        failures: gets a sentence for each file that could not be read.
    """
    team = crew.Crew(processes if len(sources) > FEW else 1)
    work = partial(attempt, hearings=predictor.hearings, plan=plan)
    results = iter(crew.spread(work, sources, crew=team, label="predict"))
    while some := list(islice(results, TOGETHER)):
        failures += [each for each in some if isinstance(each, str)]
        yield from predictor.answers([each for each in some if isinstance(each, Heard)])


def attempt(source: Source, *, hearings: Sequence[Hearing], plan: Plan) -> Heard | str:
    """Hear one recording, or say why it cannot be read."""
    batch.keep_memory()
    try:
        recording = source.read()
    except AudioError as error:
        return str(error)
    if not len(recording.samples):
        return f"{source.name} holds no samples: export it again."
    return hear(recording, hearings, plan, name=source.name)
