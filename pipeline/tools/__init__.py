"""Commands beside the pipeline: extract and inspect any file, compare runs, recipes."""
