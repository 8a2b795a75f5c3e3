"""Our client of NATS: which server it tries after it has lost one."""

from random import shuffle

from nats.aio.client import Client, Srv

from shared.nats_address import address_of
from shared.nats_client import NatsClient


class Recording(NatsClient):
    """Notes which server it would connect to."""

    async def _connect_to_server(self, s: Srv) -> None:
        self.tried = s


async def test_the_server_that_was_lost_is_tried_last() -> None:
    address = address_of("nats://a:1,nats://b:2,nats://c:3")
    client = Recording(address)
    client.options = {**address.options(), "max_reconnect_attempts": -1, "reconnect_time_wait": 0}
    client._setup_server_pool(list(address.servers))
    lost = client._server_pool[1]
    client._current_server, client._status = lost, Client.RECONNECTING
    for _ in range(20):
        shuffle(client._server_pool)  # as nats-py does
        client._current_server = lost
        await client._select_next_server()
        assert client.tried is not lost
        assert client._server_pool[-2] is lost
