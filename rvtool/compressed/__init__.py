"""Compressed FITS: files that any FITS reader opens and that give the original back."""
