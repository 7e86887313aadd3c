"""`python -m workers`: the worker of this host."""

import sys

from common.errors import SettingsError
from common.settings import settings
from workers.app import run

try:
    sys.exit(run(settings()))
except SettingsError as error:
    sys.exit(f"The worker does not start: {error}")
