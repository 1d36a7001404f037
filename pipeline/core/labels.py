"""Canonical emotions, and the class schemes that studies use.

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
VOTED = EMOTIONS[:6]  # what the listeners of CREMA-D could choose from
LISTENERS = ("voice", "face", "multimodal")  # what they were given: sound, picture, both
VOTES = {name: f"votes_{name}" for name in LISTENERS}  # columns: how many chose each of VOTED, null for nobody
WORDS = {
    "source": ("intended", *LISTENERS),
    "ties": ("drop", "intended", "soft"),
    "calm": POLICIES,
    "boredom": POLICIES,
}


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Which classes there are, who says what is heard, and what becomes of calm and boredom without a class.

    ``drop`` leaves the clips out, ``neutral`` counts them as neutral, ``keep`` adds the class. ``source`` is the
    emotion that the actor intended, or the one that most listeners chose, where a corpus has their votes. A tie has no
    majority: ``drop`` leaves the clip out, ``intended`` asks the actor, ``soft`` lets it train alone, on its votes.
    """

    source: str = "intended"
    ties: str = "drop"
    scheme: str | int = "7"
    calm: str = "neutral"
    boredom: str = "drop"

    def __post_init__(self) -> None:
        if str(self.scheme) not in SCHEMES:
            raise UnknownNameError("params.yaml: split.labels.scheme", self.scheme, SCHEMES)
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(f"params.yaml: split.labels.{name}", getattr(self, name), known)
        if self.source == "intended" and self.ties == "soft":
            raise SettingError(
                "params.yaml: split.labels.ties is 'soft', and while split.labels.source is 'intended' there are none: "
                f"set source to {', '.join(LISTENERS)}, or ties to drop."
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
        """Give the class of an emotion, or None where its clips are left out.

        >>> Labels(scheme=7).label("calm"), Labels(scheme=8).label("calm"), Labels(scheme=7).label("boredom")
        ('neutral', 'calm', None)
        """
        if emotion not in EMOTIONS:
            raise SettingError(f"{emotion!r} is no canonical emotion; those are {', '.join(EMOTIONS)}.")
        if emotion in self.classes:
            return emotion
        policy = getattr(self, emotion, "drop")
        return "neutral" if policy == "neutral" and "neutral" in self.classes else None
