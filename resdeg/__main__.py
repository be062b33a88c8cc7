"""`python -m resdeg`."""

from resdeg.cli.app import main

if __name__ == "__main__":
    main()
