"""Each kind of evidence, tried once: what can be seen, and what lifts the limit if not."""
