"""Drives `/v1/stream` through the client `websockets`, by what api/asyncapi.json says and nothing else: replay,
catching up, live events, and a line that is cut again and again and resumed from the last cursor. Each frame, in
both directions, is held to the document."""

import asyncio
import json
import os
import random
import time
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

import rest
from assertion import finish, holds, same, same_list
from relay import Relay

CUTS = 120
UNDER_WAY = 5
PATIENCE_S = 60
PROTOCOL = "fermata.stream.v1"
RUN = f"stream-run-{os.getpid()}-{time.time_ns()}"
DOCUMENT = json.loads((Path(__file__).resolve().parents[3] / "api" / "asyncapi.json").read_text())


def _validators(who):
    """A validator for each frame of one side, by its `op`."""

    def closed(schema):
        # What the document does not name, a client cannot read; it is as wrong as what is missing.
        if isinstance(schema, list):
            return [closed(one) for one in schema]
        if not isinstance(schema, dict):
            return schema
        copy = {key: closed(value) for key, value in schema.items()}
        if copy.get("type") == "object" and "properties" in copy:
            copy.setdefault("additionalProperties", False)
        return copy

    components = closed(DOCUMENT["components"])
    schemas = {"components": {"schemas": components["schemas"]}}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    found = {}
    for name, message in components["messages"].items():
        if name.startswith(who + "."):
            schema = message["payload"] | schemas
            jsonschema.Draft202012Validator.check_schema(schema)
            found[message["name"]] = jsonschema.Draft202012Validator(schema, format_checker=checker)
    return found


SAID, TOLD = _validators("client"), _validators("server")
met = set()


class Line:
    """One connection that speaks by the document."""

    def __init__(self, socket):
        self.socket = socket

    async def say(self, **frame):
        """Says a frame that the document allows."""
        SAID[frame["op"]].validate(frame)
        met.add(frame["op"])
        await self.socket.send(json.dumps(frame))

    async def hear(self):
        """The next frame but heartbeats."""
        while True:
            text = await asyncio.wait_for(self.socket.recv(), PATIENCE_S)
            if not isinstance(text, str):
                raise SystemExit("FAILED  frames are text")
            frame = json.loads(text)
            TOLD[frame["op"]].validate(frame)
            met.add(frame["op"])
            if frame["op"] != "heartbeat":
                return frame

    async def caught_up(self, name):
        """The events of a subscription up to its `caught_up`, after its `subscribed`."""
        subscribed = await self.hear()
        same(f"{name}: the subscription stands", (subscribed["op"], subscribed.get("id")), ("subscribed", name))
        heard = []
        while (frame := await self.hear())["op"] == "event":
            heard.append(frame["event"])
        same(f"{name}: everything that was there has come", (frame["op"], frame["id"]), ("caught_up", name))
        return heard

    async def closed(self):
        """The code that the server ends the connection with."""
        try:
            while True:
                await self.hear()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else 1006


def open_line(base=rest.TELEMETRY, query="", token=rest.TOKEN, **options):
    """A connection that is about to be made; who asks is in its header."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    return connect(f"{base}/v1/stream{query}", additional_headers=headers, proxy=None, max_size=None, **options)


async def hello(line):
    """The first frame."""
    frame = await line.hear()
    same("the server says hello", (frame["op"], frame["protocol"]), ("hello", PROTOCOL))
    return frame


async def who_may():
    """Each of the documented ways to say who connects, on both ports, and what becomes of nobody."""
    control = "ws" + rest.CONTROL.removeprefix("http")
    for base in (rest.TELEMETRY, control):
        async with open_line(base, subprotocols=[PROTOCOL]) as socket:
            same("the subprotocol is agreed on", socket.subprotocol, PROTOCOL)
            await hello(Line(socket))
    async with open_line(token=None, subprotocols=[PROTOCOL, f"bearer.{rest.TOKEN}"]) as socket:
        same("a token among the subprotocols is never the one agreed on", socket.subprotocol, PROTOCOL)
        await hello(Line(socket))
    async with open_line(token=None) as socket:
        await Line(socket).say(op="auth", token=rest.TOKEN)
        await hello(Line(socket))
    ticket = await asyncio.to_thread(rest.ask, "POST", "/v1/ws-tickets")
    async with open_line(token=None, query=f"?ticket={ticket['ticket']}") as socket:
        await hello(Line(socket))
    try:
        async with open_line(token="nobody"):
            holds("nobody is let in", False)
    except InvalidStatus as refused:
        same("a token that is none is refused before the handshake ends", refused.response.status_code, 401)
    async with open_line(token=None) as socket:
        await Line(socket).say(op="auth", token="nobody")
        same("and closed with 4401 after it", await Line(socket).closed(), 4401)
    async with open_line() as socket:
        await hello(Line(socket))
        await socket.send('{"op":"publish"}')
        frame = await Line(socket).hear()
        same("a frame that is none is a problem", (frame["op"], frame["problem"]["code"]), ("error", "validation"))
        same("and closed with 4400", await Line(socket).closed(), 4400)


async def replay():
    """From the start to the head, then on."""
    for steps in (1, 2, 3):
        await asyncio.to_thread(lambda: rest.ended(rest.submit(RUN, steps)))
    async with open_line() as socket:
        line = Line(socket)
        greeting = await hello(line)
        stored = await asyncio.to_thread(rest.events)
        await line.say(op="subscribe", id="whole", cursor="earliest")
        replayed = await line.caught_up("whole")
        same_list("the replay is what REST lists", replayed[: len(stored)], stored)
        await data_fits(stored)
        same("hello named its head", greeting["head_cursor"], stored[-1]["cursor"])
        await line.say(op="subscribe", id="account", filter={"account_id": RUN, "types": ["status.changed"]}, cursor="earliest")
        wanted = [event for event in stored if event.get("accountid") == RUN and event["type"] == "status.changed"]
        same_list("a filter narrows it", await line.caught_up("account"), wanted)
        await line.say(op="unsubscribe", id="account")
        same("a subscription ends", await line.hear(), {"op": "unsubscribed", "id": "account"})
        await line.say(op="subscribe", id="whole")
        refused = await line.hear()
        same("a name is taken once", (refused["id"], refused["problem"]["code"]), ("whole", "subscription_exists"))
        await line.say(op="subscribe", id="news")
        same("from the latest on there is nothing old", await line.caught_up("news"), [])
        await line.say(op="ack", cursor=stored[-1]["cursor"])
        await line.say(op="ping", nonce=RUN)
        same("a ping is answered", await line.hear(), {"op": "pong", "nonce": RUN})
        await asyncio.to_thread(lambda: rest.ended(rest.submit(RUN, 2)))
        fresh = await asyncio.to_thread(lambda: rest.events(after=replayed[-1]["cursor"]))
        live = {"whole": [], "news": []}
        while any(len(heard) < len(fresh) for heard in live.values()):
            frame = await line.hear()
            live[frame["id"]].append(frame["event"])
        for name, heard in live.items():
            same_list(f"{name}: live events are what REST lists", heard, fresh)


async def data_fits(events):
    """Each event's `data` against the schema that the server has under the event's type."""
    for kind in sorted({event["type"] for event in events}):
        schema = await asyncio.to_thread(rest.ask, "GET", f"/v1/schemas/event/{kind}")
        of_kind = [event for event in events if event["type"] == kind]
        same(f"{kind}: `dataschema` names its schema", {event["dataschema"] for event in of_kind}, {schema["$id"]})
        validator = jsonschema.Draft202012Validator(schema)
        faults = [fault.message for event in of_kind for fault in validator.iter_errors(event["data"])]
        same(f"{kind}: the data of {len(of_kind)} events is as it says", faults[:5], [])


class Follower:
    """What is heard of some events, from one cut to the next."""

    def __init__(self, name, filter, cursor):
        self.name, self.filter, self.cursor = name, filter, cursor
        self.heard = []
        self.state = "nowhere"

    async def subscribe(self, line):
        """Goes on behind the last event."""
        self.state = "asked"
        await line.say(op="subscribe", id=self.name, filter=self.filter, cursor=self.cursor)

    def take(self, frame):
        """One frame about it, which has to fit what came before on the same connection."""
        order = {"subscribed": {"asked"}, "event": {"behind", "live"}, "caught_up": {"behind"}}
        if self.state not in order.get(frame["op"], set()):
            raise SystemExit(f"FAILED  {frame['op']} does not come when {self.name} is {self.state}: {frame}")
        if frame["op"] == "subscribed":
            self.state = "behind"
            if frame["cursor"] != self.cursor:
                raise SystemExit(f"FAILED  {self.name} goes on behind its cursor, not {frame['cursor']}")
        elif frame["op"] == "caught_up":
            self.state = "live"
        else:
            self.heard.append(frame["event"])
            self.cursor = frame["cursor"]


async def follow(address, followers):
    """Connects, subscribes, takes what comes; again after each cut."""
    while True:
        try:
            async with open_line(f"ws://{address}", open_timeout=5, close_timeout=1) as socket:
                line = Line(socket)
                if (await line.hear())["op"] != "hello":
                    raise SystemExit("FAILED  the first frame is hello")
                for follower in followers.values():
                    await follower.subscribe(line)
                while True:
                    frame = await line.hear()
                    follower = followers[frame["id"]]
                    follower.take(frame)
                    if len(follower.heard) % 7 == 6:
                        await line.say(op="ack", cursor=follower.cursor)
        except ConnectionClosed as end:
            # Only the line ends a connection here; a close of the server's would have a code.
            if end.rcvd is not None:
                raise SystemExit(f"FAILED  the server closes nothing: {end}") from end
        except InvalidStatus:
            # A whole answer, and a refusal.
            raise
        except (InvalidHandshake, OSError, EOFError, TimeoutError):
            # Cut in the handshake, which is no answer of the server's.
            pass


async def cuts(chance):
    """Follows while commands run and the line is cut, and compares with what is stored."""
    start = (await asyncio.to_thread(rest.events))[-1]["cursor"]
    target = urlsplit(rest.TELEMETRY)
    relay = Relay(target.hostname, target.port, chance)
    address = await relay.listen()
    followers = {
        "everything": Follower("everything", {}, start),
        "account": Follower("account", {"account_id": RUN}, start),
        "status": Follower("status", {"account_id": RUN, "types": ["status.changed"]}, start),
    }
    queries = {"everything": {}, "account": {"account_id": RUN}, "status": {"account_id": RUN, "type": "status.changed"}}
    following = asyncio.create_task(follow(address, followers))
    commands = []
    deadline = time.monotonic() + 120
    while relay.cuts < CUTS and not following.done():
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED  only {relay.cuts} cuts in time")
        account = RUN if chance.randrange(4) else f"{RUN}-other"
        commands.append(await asyncio.to_thread(rest.submit, account, chance.randrange(1, 13)))
        if len(commands) % UNDER_WAY == 0:
            # Not more work than two cores do beside us.
            await asyncio.to_thread(rest.ended, commands[-1])
        await asyncio.sleep(chance.uniform(0, 0.05))
    if not following.done():
        inside = relay.inside
        holds(f"{relay.cuts} lines were cut, {inside} of them in what the server said", inside > CUTS // 4)
    relay.hold()
    # The last command's last event comes behind whatever might still be on its way.
    for command in [*commands, await asyncio.to_thread(rest.submit, RUN, 1)]:
        await asyncio.to_thread(rest.ended, command)
    for name, follower in followers.items():
        listed = await asyncio.to_thread(lambda: rest.events(after=start, **queries[name]))
        last = listed[-1]["cursor"]
        deadline = time.monotonic() + PATIENCE_S
        while (follower.cursor, follower.state) != (last, "live") and time.monotonic() < deadline and not following.done():
            await asyncio.sleep(0.02)
        if following.done():
            # It only ends by what it found.
            await following
        same_list(f"{name}: each event was heard once, in order, as REST lists it", follower.heard, listed)
        # This line is one of those after a cut; how often it had caught up between cuts is left to chance.
        holds(f"{name}: it caught up after cuts", follower.state == "live", follower.state)
    following.cancel()
    await asyncio.wait({following})
    await relay.close()


async def main():
    """Everything, one after the other."""
    seed = int(os.environ.get("FERMATA_SEED", "1"))
    holds(f"the seed is a number: FERMATA_SEED={seed}", True)
    await who_may()
    await replay()
    await cuts(random.Random(seed))
    wanted = (set(SAID) | set(TOLD)) - {"heartbeat"}
    holds("every frame of the document was said or heard, but perhaps a heartbeat", met >= wanted, sorted(wanted - met))


asyncio.run(main())
finish("stream")
