"""Simulators that come with rvtool: each folder is a plugin of its own."""
