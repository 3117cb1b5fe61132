"""Run the command line as ``python -m esm``."""

from esm.app import main

main()
