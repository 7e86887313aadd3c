"""The HTTP API, the web pages, and the `dcloud` command that talks to the API."""
