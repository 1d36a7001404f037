"""A trained model at work: the bundle and what opens it."""
