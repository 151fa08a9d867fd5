"""Files of the Hugging Face hub: from its client's cache, or else downloaded into it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class HubError(ValueError):
    """A file of the hub that is neither in the cache nor to be had."""


def hub_file(repo: str, name: str, revision: str | None = None) -> Path | None:
    """The file `name` of the model `repo` ("org/name") at a branch, tag or commit (None: main).

    What the cache holds is taken as it is, without asking for a newer one; else it is downloaded.
    None where the hub says that this model has no such file. Raises HubError, which says what was
    tried, the cache's folder and what to do without a network.
    """
    if (cached := cached_file(repo, name, revision)) is not None:
        return cached
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils.tqdm import disable_progress_bars

    asked = f"{name} of hf:{repo}" + (f"@{revision}" if revision else "")
    try:
        with offline_when_unreachable():
            disable_progress_bars()
            return Path(hf_hub_download(repo, name, revision=revision))
    except RemoteEntryNotFoundError:
        return None
    except GatedRepoError as error:
        raise HubError(
            f"{asked} is given only to those who were granted access: ask for it at "
            f"{settings().ENDPOINT}/{repo}, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"{asked}: {settings().ENDPOINT} has no model {repo!r} (a private one wants "
            f"`hf auth login`); look at {settings().ENDPOINT}/models?search={repo.split('/')[-1]}"
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(f"{asked}: this model has no branch, tag or commit {revision!r}") from error
    except LocalEntryNotFoundError as error:
        raise HubError(
            f"{asked} could not be downloaded: {where_to_get(repo, revision)}"
        ) from error
    # The client raises errors of several libraries where it gets no answer, or no space.
    except Exception as error:
        raise HubError(
            f"{asked} could not be downloaded ({type(error).__name__}): "
            f"{where_to_get(repo, revision)}"
        ) from error


def where_to_get(repo: str, revision: str | None = None) -> str:
    """What was tried, and how the model comes to a machine without a network."""
    option = f" --revision {revision}" if revision else ""
    offline = " (HF_HUB_OFFLINE is set)" if settings().HF_HUB_OFFLINE else ""
    return (
        f"it is not in the cache {cache_of(repo)}, and {settings().ENDPOINT} was not reached"
        f"{offline}. Run `hf download {repo}{option}` where there is a network and copy that "
        f"folder here (HF_HUB_CACHE or HF_HOME say where the cache is)"
    )


def cache_of(repo: str) -> Path:
    """The folder of the client's cache that a model's files lie in."""
    return Path(settings().HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def cached_file(repo: str, name: str, revision: str | None = None) -> Path | None:
    """The file in the cache, None where it is not there.

    As `huggingface_hub.try_to_load_from_cache`, whose import takes most of a second: too much for
    the answer to a mistyped name.
    """
    folder = cache_of(repo)
    try:
        commit = (folder / "refs" / (revision or settings().DEFAULT_REVISION)).read_text().strip()
    except OSError:
        commit = revision or ""
    file = folder / "snapshots" / commit / name
    return file if commit and file.is_file() else None


def commit_of(file: Path) -> str:
    """The commit hash of a file in the cache, which lies in snapshots/<commit>/."""
    parts = file.parts
    return parts[len(parts) - parts[::-1].index("snapshots")]


def license_of(card: Path | None) -> str | None:
    """What the head of a model's README.md says of its licence."""
    if card is None:
        return None
    from huggingface_hub.repocard import metadata_load

    try:
        said = (metadata_load(card) or {}).get("license")
    except Exception:  # a licence that cannot be read is not said; yaml has errors of its own
        return None
    return one_line(said) if isinstance(said, str) else None


def one_line(text: str) -> str:
    """What others wrote, fit to stand in a line of ours: at most 200 characters."""
    return " ".join(text.split())[:200]


@contextmanager
def offline_when_unreachable() -> Iterator[None]:
    """Where the hub's name cannot be resolved, its client only looks into its cache.

    Left alone it retries each of a model's files for half a minute before it says so.
    """
    client = settings()
    before = client.HF_HUB_OFFLINE
    client.HF_HUB_OFFLINE = before or not _resolves(client.ENDPOINT)
    try:
        yield
    finally:
        client.HF_HUB_OFFLINE = before


def settings() -> Any:
    """What the client has read from the environment: imported late, so that we can add to it."""
    from huggingface_hub import constants

    return constants


def _resolves(endpoint: str) -> bool:
    import urllib.request  # late, as this module comes with every reading of a SPEC

    # Behind a proxy names are resolved there.
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(endpoint).hostname, None)
    except OSError:
        return False
    return True
