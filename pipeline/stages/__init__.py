"""The stages of dvc.yaml: the only code that combines input and output with computing, workers and progress bars."""
