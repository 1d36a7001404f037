"""Artefacts on disk: decoded audio, the manifest, the clip cache, feature shards, batches for training."""
