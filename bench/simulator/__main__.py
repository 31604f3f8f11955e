"""`python -m bench.simulator`: see simulate.py."""

import sys

from bench.simulator.simulate import main

if __name__ == "__main__":
    sys.exit(main())
