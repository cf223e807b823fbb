"""Measures what an idle stream costs the API process: `idle_streams.py READY_FILE [COUNT]`, on this machine, against a
running `fermata dev`. No assertion: a figure for notes."""

import asyncio
import json
import sys
from pathlib import Path

from websockets.asyncio.client import connect

AT_ONCE = 50
SETTLE_S = 3


def resident_kib(pid):
    """The resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def idle(url, token, room):
    """A stream that has caught up and then hears nothing but heartbeats."""
    async with room:
        headers = {"Authorization": f"Bearer {token}"}
        stream = await connect(f"{url}/v1/stream", additional_headers=headers, ping_interval=None, max_queue=4)
        await stream.send(json.dumps({"op": "subscribe", "id": "1", "cursor": "latest"}))
        while json.loads(await stream.recv())["op"] != "caught_up":
            pass
        return stream


async def main():
    """Opens the streams, waits until the process has settled, and says what they cost."""
    ready = json.loads(Path(sys.argv[1]).read_text())
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    token = Path(ready["token_file"]).read_text().strip()
    api = next(node["pid"] for node in ready["nodes"] if "api" in node["role"])
    before, room = resident_kib(api), asyncio.Semaphore(AT_ONCE)
    streams = await asyncio.gather(*(idle(ready["telemetry"], token, room) for _ in range(count)))
    await asyncio.sleep(SETTLE_S)
    after = resident_kib(api)
    print(f"{len(streams)} idle streams: {before} KiB before, {after} KiB with them, "
          f"{(after - before) / len(streams):.1f} KiB each")


asyncio.run(main())
