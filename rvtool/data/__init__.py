"""What flows through every verb: images, datasets, splits, tensors, compressed FITS."""
