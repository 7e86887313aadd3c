"""The command starts quickly: it loads neither the web framework nor Redis' client."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_command_does_not_load_the_server() -> None:
    code = "import sys, json, api.cli; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    assert not loaded & {"redis", "flask", "werkzeug", "celery", "docker", "gevent", "deploy.doctor"}
