#!/usr/bin/env python3
"""Work of every kind for a running `fermata dev`: plain runs, posts with and without answers, questions for people,
a worker killed, readers of every surface.

    load.py READY_FILE targets            what Prometheus is to scrape, as JSON
    load.py READY_FILE work --minutes 5   the work
"""

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request


class Api:
    def __init__(self, ready):
        with open(ready["token_file"], encoding="utf-8") as file:
            self.token = file.read().strip()
        self.base, self.site = ready["control"], ready["demo_site"]

    def ask(self, method, path, body=None, base=None):
        request = urllib.request.Request((base or self.base) + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, data=data, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            return json.load(refusal)

    def flow(self, name, inputs):
        payload = {"workflow_name": name, "inputs": inputs}
        answer = self.ask("POST", "/v1/commands", {"type": "flow.run", "payload": payload})
        if "command_id" not in answer:
            sys.exit(f"{name} is refused: {answer}")


def targets(ready):
    """Every process that has a metrics page."""
    pages = [ready["control"]] + [node["probes"] for node in ready["nodes"] if node.get("probes")]
    return [{"targets": [urllib.parse.urlparse(page).netloc for page in pages]}]


def work(ready_file, minutes):
    with open(ready_file, encoding="utf-8") as file:
        ready = json.load(file)
    api, chance = Api(ready), random.Random(7)
    ends = time.monotonic() + minutes * 60
    left = lambda: ends - time.monotonic()

    def plain():
        n = 0
        while left() > 0:
            # Twice a minute there is a burst, so that queues can be seen to grow.
            for _ in range(400 if n % 60 == 20 else 6):
                api.flow("bench.steps", {"steps": chance.randint(1, 10)})
            n += 1
            time.sleep(0.5)

    def outside():
        n = 0
        while left() > 0:
            if n % 12 == 5:
                api.ask("PUT", "/_mode", {"hold_answer_ms": 6000, "times": 1, "keys": "ignore"}, api.site)
            inputs = {
                "caption": f"board {n}", "reference": f"board-{n}", "honours_keys": n % 3 != 0,
                "absence": "inconclusive", "call_timeout_s": 3, "visible_within_s": 1,
            }
            api.flow("demo.http_publish", inputs)
            if n % 8 == 3:
                api.flow("demo.dm", {"to": "bob", "text": f"hello {n}"})
            n += 1
            time.sleep(1)

    def people():
        while left() > 0:
            time.sleep(12)
            for gate in api.ask("GET", "/v1/gates?state=open&limit=20").get("items", [])[:2]:
                word = "approve" if chance.random() < 0.7 else "reject"
                api.ask("POST", f"/v1/gates/{gate['gate_id']}/decisions", {"decision": word, "outputs": {}})

    def readers():
        query = {"query": "{ commands(first: 20) { edges { node { id status steps(first: 5) { edges { node { key } } } } } } }"}
        while left() > 0:
            api.ask("GET", "/v1/commands?limit=50")
            api.ask("GET", "/v1/events?limit=200")
            api.ask("POST", "/graphql", query)
            api.ask("GET", "/v1/commands/nothing")
            time.sleep(0.25)

    def fate():
        time.sleep(minutes * 30)
        with open(ready_file, encoding="utf-8") as file:
            worker = next(node for node in json.load(file)["nodes"] if node["role"] == "worker")
        os.kill(worker["pid"], signal.SIGKILL)

    threads = [threading.Thread(target=each) for each in (plain, outside, people, readers, fate)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ready_file")
    parser.add_argument("act", choices=["targets", "work"])
    parser.add_argument("--minutes", type=float, default=5)
    given = parser.parse_args()
    if given.act == "work":
        return work(given.ready_file, given.minutes)
    with open(given.ready_file, encoding="utf-8") as file:
        return print(json.dumps(targets(json.load(file))))


if __name__ == "__main__":
    main()
