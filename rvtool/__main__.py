"""``python -m rvtool``: the command line."""

from rvtool.cli.app import main

main()
