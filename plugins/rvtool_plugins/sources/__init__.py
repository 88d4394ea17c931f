"""Sources: where images come from. One folder a source."""
