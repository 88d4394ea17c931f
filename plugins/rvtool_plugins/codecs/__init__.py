"""What compresses images: `rvtool compress --codec NAME`."""
