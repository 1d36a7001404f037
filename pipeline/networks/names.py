"""Names of models that must be known where nothing is built, and Keras is not loaded."""

SVM = "svm"  # the one model that is no network
