"""`python -m extproc.sim` is `kvgate sim`."""

import sys

from extproc.sim.main import main

sys.exit(main())
