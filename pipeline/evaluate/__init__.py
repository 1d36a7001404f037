"""Stage ``evaluate``: scores on speakers that the networks have not heard."""
