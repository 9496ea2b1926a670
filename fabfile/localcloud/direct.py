"""Clients of the simulated cloud that look like boto3's and ask moto's backends without a request in between.

A call through boto3 costs milliseconds, nearly all of it for writing, signing, reading and parsing what never leaves
the process. Here an operation's arguments go straight into the method of moto that answers it, and what that returns
comes back as boto3 would return it: same names, same dictionaries, same errors, same waiting after a throttled call.
What is not covered (waiters, other services, unusual arguments of S3) is left to boto3's own client, which meets the
same backends.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.paginate import Paginator

from .direct_operations import Operation, operations
from .faults import Failure

if TYPE_CHECKING:
    from .calls import Calls
    from .cloud import Cloud

THROTTLED = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown", "RequestThrottled"})
TRANSIENT = frozenset({500, 502, 503, 504})
LONGEST_WAIT_S = 20.0
QUOTA, THROTTLED_COST, OTHER_COST = 500, 5, 14


class Clients:
    """Direct clients of one cloud.

    :param cloud: the corrected cloud, installed.
    :param plain: gives boto3's own client of a service and region, for what is not covered here.
    :param seed: what the jitter of waits depends on.
    """

    def __init__(self, cloud: Cloud, plain: Callable[[str, str], Any], seed: int = 0) -> None:
        self.cloud = cloud
        self.plain = plain
        self.dice = random.Random(seed)  # noqa: S311 - chance that repeats is the point
        self._made: dict[tuple[str, str, int, int], Any] = {}

    def client(self, service: str, region: str, *, retries: int = 5, calls: Calls | None = None) -> Any:
        """Return a client; the same one for the same question.

        :param retries: how often a call is tried again that is throttled or meets a server error.
        :param calls: what is told of each call.
        """
        key = (service, region, retries, id(calls))
        if key not in self._made:
            found = operations(service)
            plain = self.plain
            self._made[key] = (
                plain(service, region) if found is None else Client(self, service, region, found, retries, calls)
            )
        return self._made[key]


class Client:
    """One service's operations, as methods under boto3's names."""

    def __init__(
        self,
        clients: Clients,
        service: str,
        region: str,
        found: dict[str, Operation],
        retries: int,
        calls: Calls | None,
    ) -> None:
        self._clients = clients
        self._service = service
        self._region = region
        self._operations = found
        self._attempts = retries + 1
        self._calls = calls
        self._quota = QUOTA
        self._paginators: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        operation = self._operations.get(name)
        if operation is None:
            return getattr(self._plain(), name)

        def call(*positional: Any, **arguments: Any) -> dict[str, Any]:
            if positional:
                raise TypeError(f"{name}() only accepts keyword arguments.")
            return self._call(operation, arguments)

        call.__name__ = name
        self.__dict__[name] = call
        return call

    def get_paginator(self, name: str) -> Any:
        """Return boto3's paginator over this client's method."""
        operation = self._operations.get(name)
        if operation is None or operation.pages is None:
            return self._plain().get_paginator(name)
        if name not in self._paginators:
            self._paginators[name] = Paginator(getattr(self, name), operation.pages, operation.model)
        return self._paginators[name]

    def _plain(self) -> Any:
        return self._clients.plain(self._service, self._region)

    def _call(self, operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
        if operation.why_not(arguments):
            answer: dict[str, Any] = getattr(self._plain(), operation.method)(**arguments)
            return answer
        arguments = operation.complete(arguments, self._clients.dice)
        parameters = operation.prepare(arguments)  # what is wrong with them is said before anything is counted
        calls = self._calls
        if calls is None:
            return self._try(operation, arguments, parameters)
        name = f"{self._service}:{operation.name}"
        calls.begin(name, arguments)
        try:
            return self._try(operation, arguments, parameters)
        finally:
            calls.end(name, arguments)

    def _try(self, operation: Operation, arguments: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        """Ask until there is an answer, or an error that is final: botocore's standard retries."""
        held = 0
        for attempt in range(1, self._attempts + 1):
            if attempt > 1:
                parameters = operation.prepare(arguments)  # moto may have changed the earlier ones
            answer = self._ask(operation, arguments, parameters)
            if answer.__class__ is dict:
                self._quota = min(self._quota + (held or 1), QUOTA)
                shown: dict[str, Any] = operation.finish(answer, attempt - 1, self._clients.cloud)
                return shown
            if not _is_worth_another_try(answer):
                break
            is_throttled = answer.code in THROTTLED
            cost = THROTTLED_COST if is_throttled else OTHER_COST
            if attempt == self._attempts or self._quota < cost:
                break
            self._quota, held = self._quota - cost, cost
            scale_s = 1.0 if is_throttled else 0.05
            longest_s = min(scale_s * 2 ** (attempt - 1), LONGEST_WAIT_S)
            self._clients.cloud.clock.sleep(self._clients.dice.random() * longest_s)
        exhausted = attempt == self._attempts and _is_worth_another_try(answer)
        raise operation.error(answer, arguments, attempt - 1, exhausted)

    def _ask(self, operation: Operation, arguments: dict[str, Any], parameters: dict[str, Any]) -> Any:
        """Ask once; returns the answer, or the failure."""
        cloud = self._clients.cloud
        failure = cloud.before(operation.name, self._service)
        if failure is not None:
            return failure
        answer = cloud.memory.recall(
            self._service,
            operation.name,
            lambda: (self._region, json.dumps(arguments, sort_keys=True, default=str)),
            lambda: operation.ask(parameters, self._region),
        )
        return cloud.after(operation.name, self._service) or answer


def _is_worth_another_try(failure: Failure) -> bool:
    return failure.is_silence or failure.code in THROTTLED or failure.status in TRANSIENT
