"""Fixtures that several tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora, RAVDESS/ and EmoDB/ in it; without it the test is skipped."""
    folder = os.environ.get("SER_CORPORA")
    if not folder:
        pytest.skip("SER_CORPORA names no folder of real corpora")
    return Path(folder)
