"""A line between client and server that breaks, at any byte and at any time: in the handshake, inside of a frame,
or while nothing is said. A client's own `close` would be too well-mannered for what is shown here."""

import asyncio


class Relay:
    """A port of ours that leads to the server."""

    def __init__(self, host, port, chance):
        self.target = (host, port)
        self.chance = chance
        # How many connections were cut, and how many of them in the middle of what the server said.
        self.cuts = 0
        self.inside = 0
        self.breaks = True
        self.server = None
        self.lines = set()

    async def listen(self):
        """Listens on a free port; answers where."""
        self.server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        host, port = self.server.sockets[0].getsockname()
        return f"{host}:{port}"

    def hold(self):
        """From now on the line holds."""
        self.breaks = False

    async def close(self):
        """Takes nobody in any more, and sees out who is there."""
        self.server.close()
        if self.lines:
            await asyncio.wait(self.lines)

    async def _carry(self, client_reader, client_writer):
        task = asyncio.current_task()
        self.lines.add(task)
        try:
            await self._between(client_reader, client_writer)
        except asyncio.CancelledError:
            # The driver ends, and its lines with it.
            pass
        finally:
            self.lines.discard(task)

    async def _between(self, client_reader, client_writer):
        server_reader, server_writer = await asyncio.open_connection(*self.target)
        up = asyncio.create_task(self._up(client_reader, server_writer))
        down = asyncio.create_task(self._down(server_reader, client_writer))
        # A silent line breaks after a while.
        silence = self.chance.uniform(0.005, 0.2)
        done, _ = await asyncio.wait({up, down}, timeout=silence, return_when=asyncio.FIRST_COMPLETED)
        if not done and not self.breaks:
            done, _ = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if self.breaks and up not in done:
            self.cuts += 1
            self.inside += down in done
        for task in (up, down):
            task.cancel()
        for writer in (client_writer, server_writer):
            writer.transport.abort()

    async def _up(self, reader, writer):
        while chunk := await reader.read(65536):
            writer.write(chunk)

    async def _down(self, reader, writer):
        """Ends where the line is to break; the client has half a frame then."""
        # Some lines break in the handshake, most a few events later.
        left = self.chance.randrange(1, 700) if self.chance.randrange(8) == 0 else self.chance.randrange(700, 24_000)
        while chunk := await reader.read(65536):
            if self.breaks and len(chunk) >= left:
                writer.write(chunk[:left])
                await writer.drain()
                return
            left -= len(chunk)
            writer.write(chunk)
