"""Which values NATS_URL can have. Passwords are never shown."""

import pytest
from nats.aio.client import Client

from shared.nats_address import UNREADABLE, Address, BadAddress, address_of, without_credentials

PARTS = ("s3cret", "wo", "rd")


@pytest.mark.parametrize(
    ("url", "servers", "user", "password", "token"),
    [
        ("nats://h:4333", ("nats://h:4333",), None, None, None),
        ("nats://h", ("nats://h:4222",), None, None, None),
        ("h:4333", ("nats://h:4333",), None, None, None),
        ("h", ("nats://h:4222",), None, None, None),
        ("tls://h", ("tls://h:4222",), None, None, None),
        ("wss://h", ("wss://h:443",), None, None, None),
        ("nats://[::1]:5", ("nats://[::1]:5",), None, None, None),
        (" nats://h ", ("nats://h:4222",), None, None, None),
        ("nats://u:p@h", ("nats://h:4222",), "u", "p", None),
        ("nats://u:p%40%2F%3A%23%3F%25@h", ("nats://h:4222",), "u", "p@/:#?%", None),
        ("nats://%75:%F0%9F%90%9D@h", ("nats://h:4222",), "u", "\U0001f41d", None),
        ("nats://u:50%off@h", ("nats://h:4222",), "u", "50%off", None),
        ("nats://u:@h", ("nats://h:4222",), "u", "", None),
        ("nats://t%2Bken@h", ("nats://h:4222",), None, None, "t+ken"),
        ("nats://u:p@a:1,nats://u:p@b:2", ("nats://a:1", "nats://b:2"), "u", "p", None),
        ("nats://u:p@a, b:2 ,", ("nats://a:4222", "nats://b:2"), "u", "p", None),
    ],
)
def test_a_valid_address_is_read(
    url: str, servers: tuple[str, ...], user: str | None, password: str | None, token: str | None
) -> None:
    """Credentials are decoded, servers are listed, and nats-py accepts the result."""
    address = address_of(url)
    assert address == Address(servers, address.shown, user, password, token)
    for server in servers:
        parsed = Client._parse_server_uri(server)
        assert parsed.hostname in address.shown
        assert (parsed.username, parsed.password) == (None, None)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "names no server"),
        (" , ", "names no server"),
        ("http://h:4222", "does not begin with nats://"),
        ("nats://", "names no host"),
        ("nats://u:s3cret@", "names no host"),
        ("nats://h:0", "names no host"),
        ("nats://h:99999", "cannot be read"),
        ("nats://h:port", "cannot be read"),
        ("nats://u:s3cret/word@h", "cannot be read"),
        ("nats://u:s3cret#word@h", "cannot be read"),
        ("nats://u:s3cret?word@h", "cannot be read"),
        ("nats://u:s3cret@word@h", "the password has an @"),
        ("nats://h h:4222", "names no host"),
        ("nats://h:4222/path", "something follows the port"),
        ("nats://u:s3cret@a,nats://u:word@b", "different users or passwords"),
        ("nats://u:s3cret,word@h", "names no host|cannot be read"),
        ("nats://a,ws://b", "cannot be mixed"),
    ],
)
def test_the_error_about_an_invalid_address_does_not_contain_the_password(
    url: str, words: str
) -> None:
    with pytest.raises(BadAddress, match=words) as raised:
        address_of(url)
    assert not any(part in str(raised.value).replace("password", "") for part in PARTS)
    shown = without_credentials(url)
    assert not any(part in shown for part in PARTS), shown


def test_only_the_embedded_server_has_a_name() -> None:
    assert address_of("nats://u:p@127.0.0.1:5#threadwax-ab12").name == "threadwax-ab12"
    assert without_credentials("nats://u:p@127.0.0.1:5#threadwax-ab12") == "127.0.0.1:5"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://key:s3cret@models.example/v1", "models.example:443"),
        ("http://127.0.0.1:11434/v1", "127.0.0.1:11434"),
        ("embedded:/data/nats/url", "the data folder /data"),
        ("nats://u:s3cret/word@h", UNREADABLE),
    ],
)
def test_a_shown_address_contains_no_password(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
