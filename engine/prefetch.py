"""The next batch is copied to the GPU while the training computes with this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch


class Prefetched(Iterator[Any]):
    """The batches of `stream`, each moved by `move` one step ahead, on a CUDA stream of its own.

    move: as a data preprocessor's `cast_data`; it must not wait for the device. Without a GPU the
    same batches come in the same order.
    """

    def __init__(self, stream: Iterator[Any], move: Callable[[Any], Any]) -> None:
        self.stream, self.move = stream, move
        self.side = torch.cuda.Stream() if torch.cuda.is_available() else None
        self.ready: Any = None
        self.begun = False

    def __next__(self) -> Any:
        if not self.begun:
            self.begun = True
            self._fetch()
        if self.ready is None:
            raise StopIteration
        if self.side is not None:
            torch.cuda.current_stream().wait_stream(self.side)
        batch, self.ready = self.ready, None
        self._fetch()
        return batch

    def _fetch(self) -> None:
        batch = next(self.stream, None)
        if batch is None:
            return
        if self.side is not None:
            # All steps before this one are under way: when the copy begins they are done with the
            # batches whose memory it may get.
            self.side.wait_stream(torch.cuda.current_stream())
        with nullcontext() if self.side is None else torch.cuda.stream(self.side):
            self.ready = self.move(batch)
