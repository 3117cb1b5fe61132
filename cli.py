"""Run the command line from a checkout: ``python cli.py rank ...``."""

from esm.app import main

if __name__ == "__main__":
    main()
