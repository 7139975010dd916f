"""A server that answers Google's own client as Pub/Sub does, for one subscription."""

from __future__ import annotations

import threading
from collections import deque
from concurrent import futures
from datetime import datetime, timezone
from typing import Any

import grpc
from google.pubsub_v1 import types


class PubSubServer:
    """Gives each message once; named to clients by PUBSUB_EMULATOR_HOST.

    Attributes:
      address: where it listens.
      acknowledged: the ids of messages that were acknowledged, in order.
    """

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self._waiting: deque[types.ReceivedMessage] = deque()
        self._count = 0
        self._arrived = threading.Condition()
        self._grpc = grpc.server(futures.ThreadPoolExecutor(4))
        handlers = {
            "Pull": grpc.unary_unary_rpc_method_handler(
                self._pull, types.PullRequest.deserialize, types.PullResponse.serialize
            ),
            "Acknowledge": grpc.unary_unary_rpc_method_handler(
                self._acknowledge, types.AcknowledgeRequest.deserialize, lambda _: b""
            ),
        }
        service = grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", handlers)
        self._grpc.add_generic_rpc_handlers((service,))
        self.address = f"localhost:{self._grpc.add_insecure_port('localhost:0')}"

    def __enter__(self) -> PubSubServer:
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(None).wait()

    def publish(self, *data: bytes) -> None:
        """Add messages."""
        with self._arrived:
            for each in data:
                self._count += 1
                message = types.PubsubMessage(
                    data=each, message_id=str(self._count), publish_time=datetime.now(timezone.utc)
                )
                self._waiting.append(types.ReceivedMessage(ack_id=str(self._count), message=message))
            self._arrived.notify_all()

    def _pull(self, request: Any, _: grpc.ServicerContext) -> types.PullResponse:
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._waiting), timeout=0.2)
            count = min(request.max_messages, len(self._waiting))
            return types.PullResponse(received_messages=[self._waiting.popleft() for _ in range(count)])

    def _acknowledge(self, request: Any, _: grpc.ServicerContext) -> None:
        self.acknowledged += request.ack_ids
