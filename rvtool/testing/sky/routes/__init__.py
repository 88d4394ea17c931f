"""The services of the stand-in, one module each; each has `Route` subclasses."""
