"""``store``: list, verify and clean the clip cache."""
