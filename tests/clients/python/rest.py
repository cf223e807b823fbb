"""The little of REST that the driver of the stream needs: to make something happen, and to list what did."""

import json
import os
import time
import urllib.request
from urllib.parse import urlencode

PATIENCE_S = 60
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}


def setting(name):
    """A setting out of the environment."""
    value = os.environ.get(name)
    if not value:
        raise SystemExit(f"{name} is not set: README.md says how a driver is started")
    return value


CONTROL = setting("FERMATA_CONTROL")
TELEMETRY = setting("FERMATA_TELEMETRY")
TOKEN = setting("FERMATA_TOKEN")
# No proxy: the server is on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(method, path, body=None):
    """Asks the API; a refusal is an error."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(CONTROL + path, data=data, headers=headers, method=method)
    with _opener.open(request, timeout=30) as answer:
        return json.load(answer)


def submit(account, steps):
    """Submits a command of some steps; answers its id."""
    payload = {"workflow_name": "bench.steps", "inputs": {"steps": steps}}
    body = {"type": "flow.run", "account_id": account, "payload": payload}
    return ask("POST", "/v1/commands", body)["command_id"]


def ended(command):
    """Waits for the end of a command."""
    deadline = time.monotonic() + PATIENCE_S
    while (view := ask("GET", f"/v1/commands/{command}"))["status"] not in ENDED:
        if time.monotonic() > deadline:
            raise SystemExit(f"command {command} did not end within {PATIENCE_S} s")
        time.sleep(0.02)
    return view


def events(after=None, **query):
    """Every event behind a cursor that the query matches, page by page."""
    listed = []
    while True:
        page = ask("GET", "/v1/events?" + urlencode({"limit": 200, **query} | ({"after": after} if after else {})))
        listed += page["items"]
        after = page.get("next_cursor")
        if after is None:
            return listed
