"""Lists late partitions when an S3 message arrives at an Amazon SQS queue, and at least every ``poll_seconds``."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from practices._arrivals.s3_events import partitions_in_message
from practices._arrivals.trigger import LateArrivals
from practices._connections import installation

RECEIVE_WAIT_SECONDS = 10
"""How long one request waits for a message (SQS allows 20)."""
QUEUE_RETRY_SECONDS = 30.0
"""Maximum time until the landing folder is listed again when the queue or the store does not answer."""
log = logging.getLogger(__name__)


class QueuedArrivals(LateArrivals):
    """``LateArrivals`` that lists the landing folder when a message arrives, else every ``poll_seconds``.

    A message only starts a listing: delivered partitions come from the landing folder, processed ones from receipts;
    then it is deleted. So the next listing replaces a lost message, a repeated one finds a receipt, and one received by
    a triggerer that dies is delivered again. (The amazon provider's ``SqsSensorTrigger`` deletes messages first.)
    """

    def __init__(self, dataset: str, queue: str, connection: str | None = None, poll_seconds: float = 300.0) -> None:
        super().__init__(dataset, poll_seconds)
        self.queue, self.connection = queue, connection
        self._client: Any = None
        self._received: list[dict[str, str]] = []
        self._executor: ThreadPoolExecutor | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("dataset", "queue", "connection", "poll_seconds")
        return f"{__name__}.QueuedArrivals", {name: getattr(self, name) for name in names}

    async def _wait(self) -> None:
        loop, until = asyncio.get_running_loop(), time.monotonic() + self.poll_seconds
        # Its own thread: waiting for the queue must not occupy the threads that list the folder.
        self._executor = self._executor or ThreadPoolExecutor(1, thread_name_prefix=f"{self.dataset}_queue")
        if self._check_failed:
            self._received = []  # not deleted: SQS delivers them again, which repeats the failed listing
            await asyncio.sleep(min(self.poll_seconds, QUEUE_RETRY_SECONDS))
            return
        try:
            await loop.run_in_executor(self._executor, self._delete_messages)
            while (left := until - time.monotonic()) > 0:
                if await loop.run_in_executor(self._executor, self._receive, min(left, RECEIVE_WAIT_SECONDS)):
                    return
        except Exception as error:
            # Whatever is wrong with the queue (address, rights, network), partitions are found in the landing folder.
            log.warning("queue %s of %s does not answer: %s: %s", self.queue, self.dataset, type(error).__name__, error)
            self._client = None
            await asyncio.sleep(min(self.poll_seconds, QUEUE_RETRY_SECONDS))

    def _receive(self, seconds: float) -> bool:
        """Wait for messages; return whether any of them names a partition of this dataset."""
        self._client = self._client or installation.open_sqs_client(self.connection)
        answer = self._client.receive_message(
            QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=max(1, int(seconds))
        )
        root, keys = installation.open_ports().settings.store, set()
        for message in answer.get("Messages", []):
            message_keys = partitions_in_message(message["Body"], root, self._spec)
            keys |= message_keys
            self._received.append({"Id": f"{len(self._received)}", "ReceiptHandle": message["ReceiptHandle"]})
            log.info("message about %s", ", ".join(sorted(message_keys)) or "no partition of this dataset")
        if not keys:
            self._delete_messages()
        for key in keys:
            self._done_stamps.pop(key, None)
        return bool(keys)

    def _delete_messages(self) -> None:
        """Delete the messages that have been handled."""
        received, self._received = self._received, []
        if received:
            answer = self._client.delete_message_batch(QueueUrl=self.queue, Entries=received)
            for failed in answer.get("Failed", []):
                log.warning("queue %s did not delete a handled message: %s", self.queue, failed.get("Code"))
