"""`python -m mnemic` is the command `mnemic`."""

import sys

from mnemic.command import main

sys.exit(main())
