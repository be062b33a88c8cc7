"""`python -m resdeg`."""

import sys

if __name__ == "__main__":
    # Python puts the current folder first, so that a file of the user's called random.py would be imported in
    # place of the module of that name. This package has its path already, and needs nothing else from there.
    if not sys.flags.safe_path:
        del sys.path[0]
    from resdeg.cli.app import main

    main()
