"""python -m castd."""

import sys

from castd.cli import main

if __name__ == "__main__":
    sys.exit(main())
