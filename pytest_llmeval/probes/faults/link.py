"""A client's connection with the one to the server that belongs to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from .http import Head, NotHttp, Request, read_head, read_request
from .plan import Hit
from .replying import reply_bytes
from .sides import Gone, Side, while_there


class Link:
    """A client's connection and, from its first request on, the one to the server.

    `delays` are the seconds by which the end of a side is put off.
    """

    def __init__(self, client: Side) -> None:
        self.client = client
        self.server: Side | None = None
        self.goes_on = True
        self.delays: dict[str, float] = {}

    async def next_request(self) -> Request | None:
        """The client's next request; None when it, or meanwhile the server, has gone."""
        reading = read_request(self.client.reader, self.client.writer)
        if self.server is None:
            return await reading
        try:
            return await while_there(self.server, reading)
        except Gone:
            return None

    async def reply(self, method: str, rewrites: Sequence[Hit]) -> AsyncIterator[bytes]:
        """The server's reply as it is to be sent, interim ones before it."""
        assert self.server is not None
        while True:
            head = await read_head(self.server.reader)
            if head is None or head.status == 101:
                raise NotHttp("it went away, or changed its protocol")
            if head.status >= 200:
                break
            yield head.encode()
        self.goes_on = keeps(head)
        async for piece in reply_bytes(head, self.server.reader, method, rewrites):
            yield piece

    async def close(self) -> None:
        """End both sides."""
        ends = [self.client.close(self.delays.get("downstream", 0.0))]
        if self.server is not None:
            ends.append(self.server.close(self.delays.get("upstream", 0.0)))
        await asyncio.gather(*ends)


def keeps(head: Head) -> bool:
    """Whether a connection goes on after a reply."""
    told = head.get("connection").lower()
    ends_itself = head.get("content-length") or head.get("transfer-encoding")
    return (
        bool(ends_itself or head.status in {204, 304})
        and told != "close"
        and (head.first.startswith("HTTP/1.1") or bool(told))
    )
