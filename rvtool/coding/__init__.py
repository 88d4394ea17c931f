"""Entropy coding that every codec may build on: integers only, so every machine makes and reads the same bytes."""
