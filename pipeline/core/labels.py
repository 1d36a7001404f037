"""Canonical emotions, and the class schemes used in published studies.

The first six occur in all five corpora; surprise is absent from CREMA-D and EmoDB, calm is RAVDESS'
alone, boredom EmoDB's.
"""

from dataclasses import dataclass

from pipeline.core.errors import SettingError, UnknownNameError

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "calm", "boredom")
SCHEMES = {
    "4": ("angry", "happy", "neutral", "sad"),
    "6": EMOTIONS[:6],
    "7": EMOTIONS[:7],
    "8": EMOTIONS[:8],
    "all": EMOTIONS,
}
ORIGINAL = "original"  # the variant of a clip without augmentation
POLICIES = ("drop", "neutral", "keep")
VOTED_EMOTIONS = EMOTIONS[:6]  # the choices offered to the listeners of CREMA-D
MODALITIES = ("voice", "face", "multimodal")  # presented to the listeners: audio, video, both
VOTE_COLUMNS = {name: f"votes_{name}" for name in MODALITIES}  # columns: votes for each emotion, null without votes
CHOICES = {
    "source": ("intended", *MODALITIES),
    "ties": ("drop", "intended", "soft"),
    "calm": POLICIES,
    "boredom": POLICIES,
}


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The classes, the source of the labels, and the treatment of calm and boredom if they are no classes.

    For ``calm`` and ``boredom``, ``drop`` leaves the clips out, ``neutral`` counts them as neutral and ``keep`` adds
    the class. ``source`` selects the emotion that the actor intended or, for a corpus with votes, the one that most
    listeners perceived. A tie has no majority: ``drop`` leaves the clip out, ``intended`` uses the intended emotion,
    and ``soft`` uses the clip only in training, with its distribution of votes as the target.
    """

    source: str = "intended"
    ties: str = "drop"
    scheme: str | int = "7"
    calm: str = "neutral"
    boredom: str = "drop"

    def __post_init__(self) -> None:
        if str(self.scheme) not in SCHEMES:
            raise UnknownNameError("params.yaml: split.labels.scheme", self.scheme, SCHEMES)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(f"params.yaml: split.labels.{name}", getattr(self, name), known)
        if self.source == "intended" and self.ties == "soft":
            raise SettingError(
                "params.yaml: split.labels.ties is 'soft', and while split.labels.source is 'intended' there are none: "
                f"set source to {', '.join(MODALITIES)}, or ties to drop."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in canonical order.

        >>> Labels(scheme=4, calm="keep").classes
        ('angry', 'happy', 'neutral', 'sad', 'calm')
        """
        kept = {name for name in ("calm", "boredom") if getattr(self, name) == "keep"}
        return tuple(emotion for emotion in EMOTIONS if emotion in SCHEMES[str(self.scheme)] or emotion in kept)

    def label(self, emotion: str) -> str | None:
        """Return the class of an emotion, or None if its clips are left out.

        >>> Labels(scheme=7).label("calm"), Labels(scheme=8).label("calm"), Labels(scheme=7).label("boredom")
        ('neutral', 'calm', None)
        """
        if emotion not in EMOTIONS:
            raise SettingError(f"{emotion!r} is no canonical emotion; those are {', '.join(EMOTIONS)}.")
        if emotion in self.classes:
            return emotion
        policy = getattr(self, emotion, "drop")
        return "neutral" if policy == "neutral" and "neutral" in self.classes else None
