"""Ways to a cluster: every file of `cluster/` is read by what will read it, or by its schema."""
