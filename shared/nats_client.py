"""nats-py's client, extended to survive bytes that are not UTF-8 and to protect credentials.

It must never send credentials to a server that they are not meant for.
"""

import asyncio

from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from shared.nats_address import Address
from shared.nats_errors import UnfitServer, unfit
from shared.nats_transport import JoiningTransport


class NatsClient(Client):
    """Reads messages whose subject or headers are not UTF-8, and checks the server first.

    nats-py stops reading at such a message. It would come again after each reconnect, so that one
    message could silence a process forever.
    """

    def __init__(self, address: Address, *, may_be_guest: bool = False) -> None:
        """`may_be_guest`: without credentials, any server is acceptable."""
        super().__init__()
        self._address = address
        self._is_guest = may_be_guest and address.is_anonymous

    @property
    def is_clustered(self) -> bool:
        """Whether the server that we are or were connected to is one of several."""
        return bool(self._server_info.get("cluster"))

    def _connect_command(self) -> bytes:
        if self._is_guest:
            return super()._connect_command()
        scheme = self._current_server.uri.scheme if self._current_server else ""
        if (fault := unfit(self._server_info, self._address, scheme)) is not None:
            raise UnfitServer(fault)
        return super()._connect_command()

    async def _attempt_reconnect(self) -> None:
        self._abort()
        await super()._attempt_reconnect()

    async def _select_next_server(self) -> None:
        # nats-py may begin with the server that it has just lost: if that is silent, for seconds.
        if self.is_reconnecting and self._current_server in self._server_pool:
            self._server_pool.remove(self._current_server)
            self._server_pool.append(self._current_server)
        await super()._select_next_server()

    async def _connect_to_server(self, s: Srv) -> None:
        self._abort()  # what is left of an attempt with another server of the list
        await super()._connect_to_server(s)
        if type(self._transport) is TcpTransport:
            self._transport = JoiningTransport(self._transport)

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002
        if status == Client.DISCONNECTED:  # this server of the list is no good: on to the next one
            self._abort()
            self._transport = None
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None and writer.is_closing():  # nothing can be written any more
            self._pending.clear()
            self._pending_data_size = 0
        await super()._close(status, do_cbs)

    def _abort(self) -> None:
        """Drops a connection that is of no use.

        nats-py would wait for the other side to confirm its end: 30 s for a server that hangs, and
        forever after a failed TLS handshake.
        """
        for name in ("_io_writer", "_bare_io_writer"):  # the second is below TLS
            writer = getattr(self._transport, name, None)
            if writer is not None:
                writer.transport.abort()

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        # nats-py writes the ping before pending messages, so `flush` could return before the server
        # has read those. Without a connection they stay pending.
        if self._pending and self.is_connected and self._transport is not None:
            self._transport.writelines(self._pending[:])
            self._pending.clear()
            self._pending_data_size = 0
        await super()._send_ping(future)

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        try:
            message: Msg = super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            subject = subject.decode(errors="replace").encode()
            message = super()._build_message(sid, subject, reply, data, headers)
        return message

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        if not headers:
            return None
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):  # the server's own headers are well formed
            return None
