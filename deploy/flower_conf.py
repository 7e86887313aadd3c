"""How Flower runs. Every name here is an option of Flower."""

from common import flower
from common.celery_app import celery
from common.settings import settings

# A question that no worker answers blocks its connection as long as an idle consumer's is, and the next one with it.
celery.conf.broker_transport_options = {**celery.conf.broker_transport_options, "polling_interval": 1}

address, _, _port = settings().flower_bind.rpartition(":")
port = int(_port)
url_prefix = flower.PREFIX  # the API shows it to admins under this path, and knows the secret
basic_auth = [flower.credentials(settings().var_dir)]
read_only = True  # it shows; what is done to environments goes through the API
enable_events = False  # workers send theirs by themselves
inspect_timeout = 5000.0  # milliseconds; a worker that builds answers late
max_tasks = 10_000
purge_offline_workers = 3600  # seconds
