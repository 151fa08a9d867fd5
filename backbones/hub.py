"""Quick answers from the Hugging Face hub's client where there is no network."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from huggingface_hub import constants


@contextmanager
def offline_when_unreachable() -> Iterator[None]:
    """Where the hub's name cannot be resolved, its client only looks into its cache.

    Left alone it retries each of a model's files for half a minute before it says so.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _resolves(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _resolves(endpoint: str) -> bool:
    # Behind a proxy names are resolved there.
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(endpoint).hostname, None)
    except OSError:
        return False
    return True
