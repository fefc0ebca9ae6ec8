"""Fireworks: its chat completions, and its batch inference, at whatever address the config says.

Facts this rests on, from the service's documentation (`guides/batch-inference`, the API reference
of datasets and batchInferenceJobs, `post-chatcompletions`) and from published transcripts of real
jobs of April and August 2026, as of November 2026. A mark [U] stands where nobody has shown it.

- Chat: POST /inference/v1/chat/completions, OpenAI's shape, `Authorization: Bearer KEY`. Besides
  OpenAI's keys: `top_k` (0 to 100), `min_p`, `repetition_penalty`, `response_format` of the types
  `json_schema` and `grammar` (GBNF). `context_length_exceeded_behavior` is `truncate` by default,
  which shortens `max_tokens` in silence; `error` refuses with 400.
- Batches live below /v1/accounts/{account}. A bad key gets 403 with OpenAI's `error` object; other
  refusals are `{"code": 5, "message": "...", "details": []}`, by gRPC's codes (6: exists already).
- POST /datasets `{"datasetId", "dataset": {"userUploaded": {}, "exampleCount": "3"}}`: the count is
  required, a string, and not checked. The dataset is `UPLOADING`, after the upload `READY`.
- POST /datasets/{id}:upload, a form with the field `file`, at most 150 MB. Each line is
  `{"custom_id", "body"}`, the body a chat completion without `model`. A line that does not validate
  (a role it does not know) fails the whole job.
- POST /batchInferenceJobs?batchInferenceJobId={id} `{"model", "inputDatasetId", "displayName"}`,
  names in full (`accounts/{account}/datasets/{id}`). The id is ours to choose; ids are lower-case
  letters, digits and hyphens, at most 63 [U]. Answers 409 where there is one of the name [U].
- GET /batchInferenceJobs/{id}: `state` (`JOB_STATE_VALIDATING`, then `PENDING`, `CREATING`,
  `RUNNING`, `COMPLETED`; also `FAILED`, `EXPIRED` after 24 h, and others), `status.message`,
  `outputDatasetId`, `jobProgress` with `totalInputRequests` (which is only what `exampleCount`
  said), `successfullyProcessedRequests`, `failedRequests`.
- GET /datasets/{id}:getDownloadEndpoint, without a body: `filenameToSignedUrls`, links that hold
  for ten minutes, to `dataset/{id}/BIJOutputSet.jsonl` and `dataset/{id}/error-data`. 404 for the
  output of a failed job. What an expired job has done is kept.
- A result is `{"custom_id", "response": {a chat completion}}`, in any order, and not wrapped as
  OpenAI's are; an error line is `{"custom_id", "error": {"message", "code"}}` [U].
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote as quoted

from pytest_llmeval.engines.batch import BatchResults, BatchStatus, read_results
from pytest_llmeval.engines.chat import answer_from_chat, encode_body
from pytest_llmeval.engines.connection import Reply
from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, Refusing, register
from pytest_llmeval.engines.fireworks_format import request_body, request_lines, status_of
from pytest_llmeval.engines.refusals import error_from_reply
from pytest_llmeval.engines.web import WebClient
from pytest_llmeval.engines.wire import make_wire
from pytest_llmeval.errors import BadAnswer, EndpointBusy, EngineError, JobGone, Unsupported
from pytest_llmeval.records import Answer, Request

_READY_WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between looks at a dataset that was uploaded and is not ready yet."""


@register("fireworks")
class FireworksEngine(Refusing):
    """Chat completions one by one, and batches (`BatchEngine`) with an `account` in the settings.

    The endpoint's url is the service's, with or without `/inference/v1` behind it.
    """

    kind = "fireworks"

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        root = root_of(endpoint.url)
        self._endpoint = endpoint
        self._clock = clock
        self._sleep = sleep
        self._wire = make_wire(dataclasses.replace(endpoint, url=f"{root}/inference/v1"))
        self._web = WebClient(root, api_key=endpoint.api_key, timeout=endpoint.timeout)
        self._account = f"accounts/{quoted(str(endpoint.settings.get('account', '')), safe='')}"

    @staticmethod
    def refuse(request: Request) -> None:
        """Raise `Unsupported` for what the service cannot be asked."""
        asked = []
        if not request.cache_prompt:
            asked.append("turning the prompt cache off (exact: true)")
        if request.form != "chat":
            asked.append("continuing a text without the chat template")
        if request.top_logprobs is not None:
            asked.append("log probabilities")
        if asked:
            raise Unsupported(f"The engine fireworks has no way of {' or of '.join(asked)}.")

    async def describe(self) -> EndpointFacts:
        """Ask for the list of models, which tells whether the key is taken."""
        reply = await self._wire.send("GET", "/models")
        if reply.status in (401, 403, 429, 502, 503, 504):
            raise self._refusal(reply)
        return EndpointFacts(model_name=self._endpoint.model)

    async def complete(self, request: Request) -> Answer:
        """Make one attempt at an answer."""
        self.refuse(request)
        body = {"model": self._endpoint.model, **request_body(request)}
        reply = await self._wire.send("POST", "/chat/completions", encode_body(body))
        if reply.status != 200:
            raise self._refusal(reply)
        return answer_from_chat(reply.body, secret=self._endpoint.api_key)

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()
        await self._web.close()

    # Batches --------------------------------------------------------------------------------------

    async def submit(self, name: str, requests: Mapping[str, Request], label: str) -> str:
        """Upload the requests and make the job, each step only where it is not done yet."""
        content = await asyncio.to_thread(request_lines, requests)
        dataset = f"{name}-in"
        created = await self._web.post(
            self._path("datasets"),
            {
                "datasetId": dataset,
                "dataset": {"userUploaded": {}, "exampleCount": str(len(requests))},
            },
        )
        self._check(created, may_exist=True)
        if created.status != 409 or not await self._is_ready(dataset):
            path = self._path(f"datasets/{dataset}:upload")
            self._check(await self._web.upload(path, "requests.jsonl", content))
            await self._until_ready(dataset)
        job = await self._web.post(
            self._path(f"batchInferenceJobs?batchInferenceJobId={name}"),
            {
                "model": self._endpoint.model,
                "inputDatasetId": f"{self._account}/datasets/{dataset}",
                "displayName": label,
            },
        )
        self._check(job, may_exist=True)
        return name

    async def poll(self, job: str) -> BatchStatus:
        """Ask how far a job is."""
        return status_of(await self._job(job))

    async def fetch(self, job: str) -> BatchResults:
        """Download results and errors; a job that has made no output has none."""
        output = (await self._job(job)).get("outputDatasetId")
        if not isinstance(output, str) or not output:
            return BatchResults()
        name = quoted(output.rpartition("/")[2], safe="")
        reply = await self._web.get(self._path(f"datasets/{name}:getDownloadEndpoint"))
        if reply.status == 404:
            return BatchResults()
        self._check(reply)
        urls = _object(reply).get("filenameToSignedUrls")
        if not isinstance(urls, dict) or not all(isinstance(url, str) for url in urls.values()):
            raise BadAnswer("the service names no files to download (filenameToSignedUrls)")
        lines = [line for name in sorted(urls) async for line in self._web.lines(urls[name])]
        return await asyncio.to_thread(read_results, lines, secret=self._endpoint.api_key)

    async def _job(self, job: str) -> dict[str, Any]:
        reply = await self._web.get(self._path(f"batchInferenceJobs/{quoted(job, safe='')}"))
        if reply.status == 404:
            raise JobGone(f"the service knows no batch job {job}", status=404)
        self._check(reply)
        return _object(reply)

    async def _is_ready(self, dataset: str) -> bool:
        reply = await self._web.get(self._path(f"datasets/{dataset}"))
        self._check(reply)
        return _object(reply).get("state") == "READY"

    async def _until_ready(self, dataset: str) -> None:
        for wait in _READY_WAITS:
            if await self._is_ready(dataset):
                return
            await self._sleep(wait)
        raise EndpointBusy(f"the uploaded dataset {dataset} does not become READY")

    def _path(self, rest: str) -> str:
        return f"/v1/{self._account}/{rest}"

    def _check(self, reply: Reply, *, may_exist: bool = False) -> None:
        if reply.status not in (200, 201) and not (may_exist and reply.status == 409):
            raise self._refusal(reply)

    def _refusal(self, reply: Reply) -> EngineError:
        return error_from_reply(
            reply.status, reply.headers, reply.body, now=self._clock, secret=self._endpoint.api_key
        )


def root_of(url: str) -> str:
    """The service's address without the path of its inference API, which its guides give."""
    return url.strip().rstrip("/").removesuffix("/inference/v1").rstrip("/")


def _object(reply: Reply) -> dict[str, Any]:
    try:
        data = json.loads(reply.body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadAnswer("the service answered 200 with something that is not JSON") from error
    if not isinstance(data, dict):
        raise BadAnswer("the service answered 200 with something that is no object")
    return data
