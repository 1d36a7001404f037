"""Names for the folders that people have: words that work in params.yaml, in DVC, in Hydra and as file names."""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

from pipeline.corpora.registry import KNOWN
from pipeline.errors import SettingError

LONGEST = 40  # letters; names stand in tables, and a number may follow
YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"})


@dataclass(frozen=True, kw_only=True)
class Place:
    """A corpus that was found, before it is named for good."""

    name: str  # of a known corpus, or as the folder would have it
    folder: str  # as params.yaml should have it
    known: bool  # whether the name is that of a published corpus, which reads its file names and has no other


@dataclass(frozen=True, kw_only=True)
class Named:
    """What becomes of it: its name, the folder that params.yaml has from now on, and what a person has to know."""

    name: str
    folder: str
    note: str = ""


def slug(folder: str) -> str:
    """Make a name for a corpus of the name of a folder.

    >>> slug("My Corpus (2024)"), slug("2024"), slug("Sprachübung"), slug("ravdess"), slug("")
    ('my_corpus_2024', 'corpus_2024', 'sprachubung', 'ravdess_by_emotion', 'corpus')
    """
    plain = unicodedata.normalize("NFKD", folder.casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:LONGEST].rstrip("_")
    if name in KNOWN:
        return f"{name}_by_emotion"
    return name if name[:1].isalpha() and name not in YAML_WORDS else f"corpus_{name}".rstrip("_")


def settle(
    found: Sequence[Place],
    taken: Mapping[str, str],
    *,
    same: Callable[[str, str], bool],
    gone: Collection[str] = (),
    replacing: bool = False,
    name: str = "",
) -> list[Named]:
    """Name corpora so that no name which params.yaml has for another folder is pointed anew unasked.

    Args:
        found: what was found.
        taken: ``data.corpora`` of params.yaml.
        same: says whether two texts mean one folder.
        gone: names in ``taken`` whose folder is not there, or holds nothing but the demo: free to be pointed anew.
        replacing: point names anew all the same.
        name: for the one folder among ``found`` that is no published corpus.

    Raises:
        SettingError: ``name`` cannot be given.
    """
    places = _renamed(found, name) if name else found
    held = {each: folder for each, folder in taken.items() if each not in gone and not replacing}
    owned = {place: own for place in places if (own := _own(place, taken, same)) is not None}
    held |= {own: place.folder for place, own in owned.items()}
    named = []
    for place in places:
        if place in owned:
            named.append(Named(name=owned[place], folder=taken[owned[place]]))
        else:
            named.append(_known(place, held) if place.known else _new(place, held))
            held.setdefault(named[-1].name, place.folder)
    if name and name not in {each.name for each in named}:
        raise SettingError(_refusal(name, next(place for place in places if not place.known), owned, held))
    return [_with_note(each, taken, gone) for each in named]


def _renamed(found: Sequence[Place], name: str) -> list[Place]:
    """Give the one folder that is no published corpus the name that a person chose."""
    own = [place.folder for place in found if not place.known]
    if len(own) != 1:
        listed = f": {', '.join(own)}" if own else ""
        raise SettingError(f"--name names one tree of emotion folders, and {len(own)} are here{listed}.")
    if name in KNOWN:
        raise SettingError(f"--name {name} is {KNOWN[name].title}, read by its file names: choose another name.")
    return [place if place.known else replace(place, name=name) for place in found]


def _own(place: Place, taken: Mapping[str, str], same: Callable[[str, str], bool]) -> str | None:
    """Give the name under which params.yaml has this very folder."""
    names = [place.name] if place.known else [name for name in taken if name not in KNOWN]
    return next((name for name in names if name in taken and same(taken[name], place.folder)), None)


def _known(place: Place, held: Mapping[str, str]) -> Named:
    """Leave a published corpus where params.yaml has it."""
    name = place.name
    if name not in held:
        return Named(name=name, folder=place.folder)
    note = f"{name} stays at {held[name]}, where params.yaml has it: --replace points it at {place.folder}."
    return Named(name=name, folder=held[name], note=note)


def _new(place: Place, held: Mapping[str, str]) -> Named:
    """Give a folder its own name, or with a number where another folder has that."""
    numbered = chain([place.name], (f"{place.name}_{number}" for number in count(2)))
    name = next(each for each in numbered if each not in held)
    note = "" if name == place.name else f"{place.folder} is called {name}, for {place.name} is {held[place.name]}."
    return Named(name=name, folder=place.folder, note=note)


def _refusal(name: str, place: Place, owned: Mapping[Place, str], held: Mapping[str, str]) -> str:
    """Say why a folder cannot have the name that was chosen for it."""
    if place in owned:
        return f"--name {name}: params.yaml calls {place.folder} {owned[place]} already: change the name there."
    return f"--name {name}: params.yaml has it for {held[name]}: choose another name, or add --replace."


def _with_note(each: Named, taken: Mapping[str, str], gone: Collection[str]) -> Named:
    """Say what a name stood for until now, where that is still there."""
    if each.name in gone or taken.get(each.name, each.folder) == each.folder:
        return each
    return replace(each, note=f"{each.name} was {taken[each.name]} in params.yaml until now.")
