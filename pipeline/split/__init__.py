"""Stage ``split``: folds, roles and classes, and the leakage audit."""
