"""The published systems as data, and the lines that run them."""
