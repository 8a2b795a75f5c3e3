"""OpenAI's endpoints for files and fine-tuning jobs, which refuse what the real ones refuse.

The shapes are those of OpenAI's API reference; a job advances by one status per look at it.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "sk-test"
STATUSES = ("validating_files", "queued", "running")
EXAMPLES_AT_LEAST = 10


@dataclass
class FakeFineTuning:
    """What was uploaded and ordered. `has_access` False: an organization that came too late."""

    has_access: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_with_key])
        app.router.add_post("/v1/files", self._upload)
        app.router.add_delete("/v1/files/{id}", self._delete)
        app.router.add_post("/v1/fine_tuning/jobs", self._create)
        app.router.add_get("/v1/fine_tuning/jobs/{id}", self._retrieve)
        app.router.add_get("/v1/fine_tuning/jobs/{id}/events", self._events)
        return app

    async def _upload(self, request: web.Request) -> web.Response:
        fields = await request.post()
        uploaded = fields.get("file")
        if fields.get("purpose") != "fine-tune" or not isinstance(uploaded, web.FileField):
            return refusal(400, "Invalid value for purpose or file", "invalid_request_error")
        contents = uploaded.file.read()
        if not uploaded.filename.endswith(".jsonl"):
            return refusal(400, "Invalid file format. Must be .jsonl", "invalid_request_error")
        name = f"file-{len(self.files) + 1}"
        self.files[name] = contents
        return web.json_response(
            {"id": name, "object": "file", "bytes": len(contents), "created_at": 0,
             "filename": uploaded.filename, "purpose": "fine-tune", "status": "processed"}
        )  # fmt: skip

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if self.files.pop(name, None) is None:
            return refusal(404, f"No such File object: {name}", "invalid_request_error")
        self.deleted.append(name)
        return web.json_response({"id": name, "object": "file", "deleted": True})

    async def _create(self, request: web.Request) -> web.Response:
        order = await request.json()
        if not self.has_access:
            message = "Fine-tuning is not available to this organization."
            return refusal(403, message, "invalid_request_error", "fine_tuning_unavailable")
        if order["model"] != "gpt-small":
            message = f"Model {order['model']} is not available for fine-tuning."
            return refusal(400, message, "invalid_request_error", "model_not_available")
        if order["training_file"] not in self.files:
            return refusal(400, "invalid training_file", "invalid_request_error")
        self.orders.append(order)
        name = f"ftjob-{len(self.jobs) + 1}"
        self.jobs[name] = {
            "id": name, "object": "fine_tuning.job", "created_at": 0, "model": order["model"],
            "organization_id": "org-1", "status": STATUSES[0], "hyperparameters": {},
            "training_file": order["training_file"], "result_files": [], "seed": 0,
            "error": None, "fine_tuned_model": None, "looks": 0,
        }  # fmt: skip
        return web.json_response(self.jobs[name])

    async def _retrieve(self, request: web.Request) -> web.Response:
        job = self.jobs.get(request.match_info["id"])
        if job is None:
            return refusal(404, "Could not find fine tune", "invalid_request_error")
        job["looks"] += 1
        fault = training_file_fault(self.files.get(job["training_file"], b""))
        if job["looks"] < len(STATUSES):
            job["status"] = STATUSES[job["looks"]]
        elif fault:
            job.update(status="failed", error=fault)
        else:
            job.update(status="succeeded", fine_tuned_model="ft:gpt-small:org::1")
        return web.json_response(job)

    async def _events(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        events = [
            {"id": f"e{n}", "object": "fine_tuning.job.event", "created_at": n, "level": "info",
             "message": f"step {n}", "type": "message"}
            for n in range(job["looks"], 0, -1)
        ]  # fmt: skip
        return web.json_response({"object": "list", "data": events, "has_more": False})


@web.middleware
async def _with_key(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return refusal(
            401, "Incorrect API key provided", "invalid_request_error", "invalid_api_key"
        )
    response: web.StreamResponse = await handler(request)
    return response


def training_file_fault(contents: bytes) -> dict[str, Any] | None:
    """What the real service says about a training file when it validates the job."""
    lines = contents.decode().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
            keys = {key for message in found["messages"] for key in message}
            good = set(found) == {"messages"} and keys <= {"role", "content", "weight"}
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            text = f"Invalid file format. Line {number} does not have the chat format."
            return {"code": "invalid_file_format", "param": "training_file", "message": text}
    if len(lines) < EXAMPLES_AT_LEAST:
        text = f"Expected at least {EXAMPLES_AT_LEAST} examples, got {len(lines)}"
        return {"code": "invalid_n_examples", "param": "training_file", "message": text}
    return None


def refusal(status: int, message: str, kind: str, code: str | None = None) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return web.json_response({"error": error}, status=status)
