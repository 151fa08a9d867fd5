"""How many megabytes of a long piece of work are done."""

from __future__ import annotations

from types import TracebackType

from benchmarks.mini_world.progress import Progress

_MEGABYTE = 10**6
_WORTH_A_LINE = 100 * _MEGABYTE


class Megabytes:
    """Counts bytes within a `with` block and says so on stderr, unless they are soon done."""

    def __init__(self, what: str, total: int) -> None:
        self.progress = None
        if total >= _WORTH_A_LINE:
            self.progress = Progress(what, total // _MEGABYTE, "MB")
        self.rest = 0

    def __enter__(self) -> Megabytes:
        return self

    def advance(self, count: int) -> None:
        """`count` more bytes are done."""
        whole, self.rest = divmod(self.rest + count, _MEGABYTE)
        if self.progress is not None and whole:
            self.progress.advance(whole)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.progress is not None:
            self.progress.close()
