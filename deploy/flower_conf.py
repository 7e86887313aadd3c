"""How Flower runs. Every name here is an option of Flower."""

from common.settings import settings

address, _, _port = settings().flower_bind.rpartition(":")
port = int(_port)
read_only = True  # it shows; what is done to environments goes through the API
enable_events = False  # workers send theirs by themselves
max_tasks = 10_000
purge_offline_workers = 3600  # seconds
