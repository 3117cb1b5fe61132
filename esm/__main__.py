"""Run the command line as ``python -m esm``."""

from esm.cli.app import main

main()
