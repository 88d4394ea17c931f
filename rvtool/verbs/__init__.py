"""What is done: one module a verb, each with `Settings` and `run(settings, console)`; verbs never import each other."""
