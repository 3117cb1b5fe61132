"""Run the command line from a checkout: ``python cli.py rank ...``."""

from esm_transfer import main

if __name__ == "__main__":
    main()
