"""The host side: a Celery worker that claims environments and turns each into a container."""
