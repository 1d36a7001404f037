"""Copies of the corpora that people have put on Kaggle, through Kaggle's own library, which not everybody has."""

from pathlib import Path

from pipeline import extras
from pipeline.corpora.sources import SourceError


def download(name: str) -> Path:
    """Download the dataset ``owner/name`` with the user's own account; return the folder where kagglehub keeps it.

    Raises:
        SettingError: kagglehub is not installed.
        SourceError: Kaggle gives no such dataset to this account.
    """
    with extras.needed("kaggle"):
        import kagglehub
    try:
        return Path(kagglehub.dataset_download(name))
    except Exception as error:  # its errors have no common root
        remedy = "see that your Kaggle account has access and its token is where kagglehub looks for it"
        raise SourceError(f"Kaggle did not give {name} ({error}): {remedy}.") from error
