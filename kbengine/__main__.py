"""``python -m kbengine``: see `kbengine.cli`."""

import sys

from kbengine.cli import main

sys.exit(main())
