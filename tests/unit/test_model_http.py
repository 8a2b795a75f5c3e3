"""The HTTP client beneath openai's: what it leaves out, and what it hands on."""

import httpx2

from dataflow.model.http import HttpClient

URL = "http://127.0.0.1:1/v1/chat/completions"
TIMEOUT = httpx2.Timeout(5.0, connect=1.0)


async def test_our_request_has_what_openai_says_and_no_more() -> None:
    async with HttpClient() as client:
        request = client.build_request(
            "POST", URL, headers=[("X-A", "b")], content=b"{}", timeout=TIMEOUT, params=None
        )
    assert (str(request.url), request.content) == (URL, b"{}")
    assert dict(request.headers) == {"host": "127.0.0.1:1", "x-a": "b", "content-length": "2"}
    assert request.extensions["timeout"] == TIMEOUT.as_dict()


async def test_any_other_request_is_built_as_ever() -> None:
    async with HttpClient() as client:
        request = client.build_request("POST", URL, params={"a": "1"}, timeout=TIMEOUT)
    assert request.url.query == b"a=1"
    assert "user-agent" in request.headers
