"""``export``: bundles that run without Keras."""
