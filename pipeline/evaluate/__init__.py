"""Stage ``evaluate``: scores on speakers that the models were not trained on."""
