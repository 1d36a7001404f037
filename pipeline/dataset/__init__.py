"""What models are fed: shards, tables, standardised inputs, targets."""
