"""GET requests to the Hugging Face Hub that wait, repeat and end.

A request waits where the Hub asks for it (HTTP 429 with ``Retry-After``), is repeated after a
fault that may pass, and ends after a bounded time.
"""

from __future__ import annotations

import email.utils
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from esm.common.errors import HubError

_SECONDS_TO_RESET = re.compile(r"\bt=(\d+)")
_TIMEOUT = 60.0
_ATTEMPTS = 6
_LONGEST_WAIT = 300.0
_PASSING = frozenset({408, 425, 500, 502, 503, 504})
_DENIED = frozenset({401, 403, 404})
_BLOCK = 2**16


class HubDownError(HubError):
    """The Hub does not answer at all, or not for a long time: there is no use in going on."""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        content: The body, whole.
        next_page: Address of the next page of a list; None at its end.
    """

    content: bytes
    next_page: str | None


@dataclass(frozen=True)
class _Fault:
    """Why an attempt failed, and how long to wait before the next one."""

    pause: float
    reason: str
    is_limit: bool = False
    is_down: bool = False

    def error(self, what: str) -> HubError:
        """Return the error once all attempts have failed."""
        if self.is_limit or self.is_down:
            return HubDownError(
                f"the Hub cannot be reached ({self.reason})",
                expected="a connection",
                hint="check the network; the same command goes on from here",
            )
        return HubError(
            f"{what} cannot be fetched: {self.reason}",
            expected="a whole answer",
            hint="the same command tries again",
        )


class PatientClient:
    """Sends requests; may be used by several threads, which wait together.

    Args:
        wait: What to wait with.
    """

    def __init__(self, wait: Callable[[float], None] = time.sleep) -> None:
        self._wait = wait
        self._lock = threading.Lock()
        self._not_before = 0.0

    def get(self, address: str, params: Mapping[str, Any], what: str, limit: int) -> Answer:
        """Return the answer to a GET request.

        Args:
            address: Where to.
            params: Query parameters.
            what: What is asked for, for the message.
            limit: The most bytes to accept.

        Raises:
            HubError: There is no such thing, it is too large, or it does not arrive whole.
            HubDownError: The Hub cannot be reached, or asks to wait for long.
        """
        fault = _Fault(0.0, "nothing was tried")
        for attempt in range(_ATTEMPTS):
            self._hold()
            outcome = _attempt(address, params, what, limit, attempt)
            if isinstance(outcome, Answer):
                return outcome
            fault = outcome
            if fault.is_limit and fault.pause > _LONGEST_WAIT:
                raise HubDownError(
                    f"the Hub asks to wait {fault.pause:.0f} seconds (HTTP 429)",
                    hint="the same command later, which goes on from here; `hf auth login` raises"
                    " the limit",
                )
            if fault.is_limit:
                self._hold_all(fault.pause)
            elif attempt + 1 < _ATTEMPTS:
                self._wait(fault.pause)
        raise fault.error(what)

    def _hold(self) -> None:
        """Wait until the Hub takes requests again: it limits all threads together."""
        with self._lock:
            pause = self._not_before - time.monotonic()
        if pause > 0:
            self._wait(pause)

    def _hold_all(self, pause: float) -> None:
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + pause)


def _attempt(
    address: str, params: Mapping[str, Any], what: str, limit: int, attempt: int
) -> Answer | _Fault:
    import httpx2
    from huggingface_hub import get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    later = float(2**attempt)
    try:
        with get_session().stream(
            "GET",
            address,
            params=dict(params) or None,
            headers=_headers(),
            timeout=_TIMEOUT,
        ) as response:
            status = response.status_code
            if status == 200:
                content = _read(response.iter_bytes(_BLOCK), what, limit)
                return Answer(content, response.links.get("next", {}).get("url"))
            pause = _asked_pause(response.headers, later)
    except OfflineModeIsEnabled as error:
        raise HubDownError(
            "the Hub is switched off by HF_HUB_OFFLINE", hint="unset HF_HUB_OFFLINE"
        ) from error
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        return _Fault(later, str(error), is_down=True)
    except httpx2.TransportError as error:
        return _Fault(later, f"the connection broke off ({error})")
    if status in _DENIED:
        raise HubError(
            f"no {what} on the Hub, or no access to it (HTTP {status})",
            hint="check the name and `hf auth whoami`",
        )
    if status != 429 and status not in _PASSING:
        raise HubError(f"the Hub answers HTTP {status} for {what}", expected="HTTP 200")
    return _Fault(pause, f"HTTP {status}", is_limit=status == 429)


def _headers() -> dict[str, str]:
    """Return our name and, where the user is logged in, the token; nothing else is told."""
    from huggingface_hub import get_token

    token = get_token()
    return {"user-agent": "esm-transfer"} | (
        {} if token is None else {"authorization": f"Bearer {token}"}
    )


def _read(blocks: Iterator[bytes], what: str, limit: int) -> bytes:
    content = bytearray()
    for block in blocks:
        content += block
        if len(content) > limit:
            raise too_large(what, len(content), limit)
    return bytes(content)


def too_large(what: str, size: int, limit: int) -> HubError:
    """Return the error for something that has more bytes than it may have."""
    return HubError(f"{what} has {size} bytes or more", expected=f"at most {limit}")


def _asked_pause(headers: Mapping[str, str], otherwise: float) -> float:
    """Return the seconds that the Hub asks to wait."""
    asked = headers.get("retry-after", "")
    if asked.isdigit():
        return float(asked)
    with suppress(ValueError, TypeError):
        until = email.utils.parsedate_to_datetime(asked)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    if match := _SECONDS_TO_RESET.search(headers.get("ratelimit", "")):
        return float(match[1])
    return otherwise
