"""GET requests to the Hugging Face Hub that wait, repeat and end.

Faults that may pass are waited out by huggingface_hub. What it does not do is done here: a body is
not read beyond its limit and is asked for again where it breaks off, and a Hub that asks to wait
for long (HTTP 429) is an error, not an hour of silence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from esm.common.errors import HubError

_TIMEOUT = 60.0
_ATTEMPTS = 6
_LONGEST_PAUSE = 16.0  # between attempts, where the Hub does not say
_LONGEST_WAIT = 300.0  # that the Hub may ask for
_PASSING = (408, 425, 500, 502, 503, 504)
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
    """Why there is no answer yet, and how long the Hub asks to wait; None where it does not say."""

    reason: str
    asked: float | None = None
    is_limit: bool = False


def get(address: str, params: Mapping[str, Any], what: str, limit: int) -> Answer:
    """Return the answer to a GET request; may be called by several threads.

    Args:
        address: Where to.
        params: Query parameters.
        what: What is asked for, for the message.
        limit: The most bytes to accept.

    Raises:
        HubError: There is no such thing, it is too large, or it does not arrive whole.
        HubDownError: The Hub cannot be reached, or asks to wait for long.
    """
    fault = _Fault("nothing was tried")
    for attempt in range(_ATTEMPTS):
        found = _request(address, params, what, limit)
        if isinstance(found, Answer):
            return found
        fault = found
        if fault.asked is not None and fault.asked > _LONGEST_WAIT:
            raise HubDownError(
                f"the Hub asks to wait {fault.asked:.0f} seconds (HTTP 429)",
                hint="the same command later, which goes on from here; `hf auth login` raises the"
                " limit",
            )
        if attempt + 1 < _ATTEMPTS:
            time.sleep(min(2.0**attempt, _LONGEST_PAUSE) if fault.asked is None else fault.asked)
    if fault.is_limit:
        raise _unreachable(fault.reason)
    raise _not_fetched(what, fault.reason)


def _request(address: str, params: Mapping[str, Any], what: str, limit: int) -> Answer | _Fault:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import http_stream_backoff  # type: ignore[attr-defined]

    try:
        with http_stream_backoff(
            "GET",
            address,
            max_retries=_ATTEMPTS - 1,
            max_wait_time=_LONGEST_PAUSE,
            retry_on_status_codes=_PASSING,
            params=dict(params) or None,
            headers=_headers(),
            timeout=_TIMEOUT,
        ) as response:
            status = response.status_code
            if status == 429:
                return _Fault("HTTP 429", _asked_wait(response.headers), is_limit=True)
            if status in _DENIED:
                raise HubError(
                    f"no {what} on the Hub, or no access to it (HTTP {status})",
                    hint="check the name and `hf auth whoami`",
                )
            if status != 200:
                raise HubError(f"the Hub answers HTTP {status} for {what}", expected="HTTP 200")
            try:  # inside: a broken body is no attempt that huggingface_hub can repeat
                content = _read(response.iter_bytes(_BLOCK), what, limit)
            except (httpx2.TransportError, httpx2.StreamError) as error:
                return _Fault(f"the connection broke off ({error})")
            return Answer(content, response.links.get("next", {}).get("url"))
    except OfflineModeIsEnabled as error:
        raise HubDownError(
            "the Hub is switched off by HF_HUB_OFFLINE", hint="unset HF_HUB_OFFLINE"
        ) from error
    except HfHubHTTPError as error:
        raise _not_fetched(what, f"HTTP {error.response.status_code}") from error
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise _unreachable(str(error)) from error
    except httpx2.TransportError as error:
        raise _not_fetched(what, f"the connection broke off ({error})") from error
    except RuntimeError as error:
        # Where one thread cannot connect, huggingface_hub closes the client that all share.
        return _Fault(f"the connection broke off ({error})")


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the Hub asks to wait, of ``Retry-After`` or ``ratelimit``."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    asked = headers.get("retry-after", "").strip()
    if asked.isdigit():
        return float(asked)
    limit = parse_ratelimit_headers(headers)
    return None if limit is None else float(limit.reset_in_seconds)


def _unreachable(reason: str) -> HubDownError:
    return HubDownError(
        f"the Hub cannot be reached ({reason})",
        expected="a connection",
        hint="check the network; the same command goes on from here",
    )


def _not_fetched(what: str, reason: str) -> HubError:
    return HubError(
        f"{what} cannot be fetched: {reason}",
        expected="a whole answer",
        hint="the same command tries again",
    )


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
