"""`python -m lib.run`."""

import sys

from lib.run import main

sys.exit(main())
