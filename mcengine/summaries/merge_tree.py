"""Summaries that arrive in order, merged in a fixed binary tree."""

import jax
import numpy as np
from jaxtyping import Int

from mcengine.summaries.merge import map_summaries, merge_stacks
from mcengine.summaries.summary import Summary


class MergeTree:
    """Rows that arrive in order, merged in float64 in the same binary tree as `merge_all` over all of them.

    Complete aligned subtrees are folded as soon as they are there: `CHUNK` rows at once, which is quick where rows are
    small, or fewer where that would fill the memory, and then two subtrees of the same size. So the memory is that of a
    chunk and the logarithm of the run.
    """

    CHUNK, CHUNK_BYTES = 256, 2**25

    def __init__(self) -> None:
        self._folded: list[tuple[int, Summary]] = []  # (level, subtree of 2^level chunks)
        self._waiting: list[Summary] = []  # stacks of rows
        self._num_waiting, self._chunk = 0, 0

    def append(self, summaries: Summary) -> None:
        """Add rows stacked along the first axis."""
        summaries = map_summaries(lambda leaf: np.asarray(leaf, np.float64), summaries)
        self._chunk = self._chunk or self._rows_in(self.CHUNK_BYTES, summaries)
        while len(summaries.moments.count):
            room = self._chunk - self._num_waiting
            self._waiting.append(map_summaries(lambda leaf, room=room: leaf[:room], summaries))
            self._num_waiting += len(self._waiting[-1].moments.count)
            summaries = map_summaries(lambda leaf, room=room: leaf[room:], summaries)
            if self._num_waiting == self._chunk:
                self._fold(merge_stacks(self._waiting))
                self._waiting, self._num_waiting = [], 0

    def take(self, index: Int[np.ndarray, " problems"]) -> None:
        """Keep some of the problems, where summaries have an axis of problems behind that of blocks."""
        self._folded = [(level, map_summaries(lambda leaf: leaf[index], tree)) for level, tree in self._folded]
        self._waiting = [map_summaries(lambda leaf: leaf[:, index], stack) for stack in self._waiting]

    def _rows_in(self, num_bytes: int, summaries: Summary) -> int:
        """A power of two, settled by the first row, which has a tail if any has."""
        summary = sum(leaf[0].nbytes for leaf in jax.tree.leaves(summaries))
        return min(self.CHUNK, 2 ** max(0, (num_bytes // summary).bit_length() - 1))

    def _fold(self, summary: Summary) -> None:
        level = 0
        while self._folded and self._folded[-1][0] == level:
            summary = _pair(self._folded.pop()[1], summary)
            level += 1
        self._folded.append((level, summary))

    def merged(self) -> Summary:
        """The row of everything so far."""
        parts = [summary for _, summary in self._folded] + ([merge_stacks(self._waiting)] if self._waiting else [])
        # An odd one waits for what is to its left, as in `merge_all`.
        summary = parts.pop()
        while parts:
            summary = _pair(parts.pop(), summary)
        return summary


def _pair(a: Summary, b: Summary) -> Summary:
    return merge_stacks([map_summaries(lambda leaf: leaf[None], summary) for summary in (a, b)])
