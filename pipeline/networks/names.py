"""Names of models that must be known where nothing is built, and Keras is not loaded."""

from collections.abc import Mapping
from typing import Any

from pipeline import config
from pipeline.errors import UnknownNameError

VIEWS = ("logmel", "mfcc")  # what they can be fed
SVM = "svm"  # the one model that is no network


def view(params: Mapping[str, Any]) -> str:
    """Read which view models are fed.

    Raises:
        UnknownNameError: there is none of this name.
    """
    name = config.text(params, "model.features")
    if name not in VIEWS:
        raise UnknownNameError("params.yaml: model.features", name, VIEWS)
    return name
