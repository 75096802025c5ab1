# SPDX-License-Identifier: Apache-2.0
"""`python -m ooMtrace`."""

import sys

from ooMtrace.cli import main

sys.exit(main())
