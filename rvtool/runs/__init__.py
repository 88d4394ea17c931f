"""How work is described, kept and found again."""
