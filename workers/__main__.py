"""`python -m workers`: the worker of this host."""

import sys

from common.errors import SettingsError
from common.settings import settings

try:
    from workers.app import run  # its Celery application reads the settings while it is imported

    sys.exit(run(settings()))
except SettingsError as error:
    sys.exit(f"The worker does not start: {error}")
