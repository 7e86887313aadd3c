"""Webhooks by Standard Webhooks: a resource of the API, and a process of its own that sends what is owed.

`python -m api.webhooks` is a Celery worker with a queue of its own: the queues of hosts are their workers' alone.
"""
