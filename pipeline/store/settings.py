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
    for name in set(drop) & set(known):
        del corpora[name]
        if name in corpora:
            raise SettingError(
                f"{path}: data.corpora.{name} comes in by '<<': take it out by hand, then run this again."
            )
    corpora.update(wanted)
    expected = dict(corpora)
    if not corpora:
        raise SettingError(f"{path}: data.corpora would be empty: name at least one corpus.")
    with files.aside(path.resolve()) as part, part.open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)
        file.flush()
        refuse_other(config.corpora(config.read(part)), expected, path)


def refuse_other(found: Mapping[str, str], expected: Mapping[str, str], path: Path) -> None:
    """Refuse names of folders that do not come back from YAML as they are."""
    for name, place in expected.items():
        if found.get(name) != place:
            raise SettingError(f"{path}: data.corpora.{name} cannot hold {place!r}: give the folder another name.")
