"""Models: what is trained. One folder a model: its ``__init__`` declares, its ``model`` reads top to bottom."""
