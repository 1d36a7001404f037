"""``predict``, ``listen`` and ``serve``: a trained bundle at work."""
