"""Change params.yaml in place: its comments and its order stay."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ruamel.yaml import YAML

from pipeline import config, yamlfile
from pipeline.errors import SettingError
from pipeline.store import files


def point(wanted: Mapping[str, str], *, drop: Iterable[str] = (), path: Path = config.PARAMS) -> None:
    """Set the folder of corpora in ``data.corpora``, and take others out.

    Raises:
        SettingError: the file is missing, is no YAML, or would hold no corpus afterwards; it stays as it was.
    """
    known = config.corpora(config.read(path))  # refuses what is no params.yaml
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000  # lines stay as they are
    yaml.indent(mapping=2, sequence=2, offset=0)
    tree = yaml.load(yamlfile.decoded(yamlfile.contents(path), path))
    corpora = tree["data"]["corpora"]
    gone = set(drop) & set(known)
    meant = {name: place for name, place in known.items() if name not in gone} | dict(wanted)
    for name in gone:
        del corpora[name]
    corpora.update(wanted)
    if not corpora:
        raise SettingError(f"{path}: data.corpora would be empty: name at least one corpus.")
    with files.aside(path.resolve()) as part, part.open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)
        file.flush()
        refuse_other(config.corpora(config.read(part)), meant, path)


def refuse_other(written: Mapping[str, str], meant: Mapping[str, str], path: Path) -> None:
    """Stop where a file would say something else than was meant, for a letter in a name or an alias."""
    wrong = sorted(dict(written.items() ^ meant.items()))
    if not wrong:
        return
    name, place = wrong[0], meant.get(wrong[0], "")
    if not place.isprintable():
        raise SettingError(f"{path}: data.corpora.{name} cannot hold {place!r}: give the folder another name.")
    raise SettingError(
        f"{path}: data.corpora.{name} cannot be changed where it comes in by '<<' or an alias: do it by hand."
    )
