"""The HTTP client that the `openai` library uses: which headers it sends."""

import httpx2

from dataflow.model.http import HttpClient

URL = "http://127.0.0.1:1/v1/chat/completions"
TIMEOUT = httpx2.Timeout(5.0, connect=1.0)


async def test_a_model_request_has_only_the_headers_that_openai_sets() -> None:
    async with HttpClient() as client:
        request = client.build_request(
            "POST", URL, headers=[("X-A", "b")], content=b"{}", timeout=TIMEOUT, params=None
        )
    assert (str(request.url), request.content) == (URL, b"{}")
    assert dict(request.headers) == {"host": "127.0.0.1:1", "x-a": "b", "content-length": "2"}
    assert request.extensions["timeout"] == TIMEOUT.as_dict()


async def test_other_requests_have_the_default_headers() -> None:
    async with HttpClient() as client:
        request = client.build_request("POST", URL, params={"a": "1"}, timeout=TIMEOUT)
    assert request.url.query == b"a=1"
    assert "user-agent" in request.headers
