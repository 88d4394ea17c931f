"""First-party plugins: the same path that third-party plugins take."""
