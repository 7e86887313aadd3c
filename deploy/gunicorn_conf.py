"""How gunicorn serves the API. Every name here is a setting of gunicorn."""

import os

from common.settings import settings

bind = settings().api_bind
worker_class = "gevent"  # thousands of watchers wait on one process
workers = min(4, os.cpu_count() or 1)
worker_connections = 4000  # clients a process, of which 2,000 may be watching
timeout = 60  # seconds without a sign of life after which a process is replaced
graceful_timeout = 5  # watchers come back by themselves, so a stop need not wait for them
keepalive = 15
max_requests = 0
proc_name = "dcloud-api"
control_socket_disable = True  # it would lie outside var/, in the user's home
errorlog = "-"
