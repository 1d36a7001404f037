"""Stage ``split``: folds, roles and labels, and the leakage audit."""
