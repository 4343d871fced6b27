"""Epochs that are over: every merger's share of one put together."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.messages import EpochResult
from tocsin.detectors.summary.results import epoch_rows


class Epochs:
    """Holds shares until all of an epoch are there. `pending` are those that wait."""

    def __init__(self, summaries: Mapping[str, Summary], mergers: int = 1, pending: Iterable[EpochResult] = ()) -> None:
        self._summaries, self._mergers = summaries, mergers
        self._shares: dict[tuple[str, int], list[EpochResult]] = {}
        for share in pending:
            self._shares.setdefault(_epoch(share), []).append(share)

    @property
    def pending(self) -> list[EpochResult]:
        """Return the shares of epochs of which another is still to come."""
        return [share for shares in self._shares.values() for share in shares]

    def take(self, results: Iterable[EpochResult]) -> list[pa.Table]:
        """Take in shares and return the rows of each epoch that is whole now."""
        whole = []
        for result in results:
            shares = self._shares.pop(_epoch(result), [])
            shares.append(result)
            if len(shares) >= self._mergers or self._is_alone(result):
                whole.append(self._rows(shares))
            else:
                self._shares[_epoch(result)] = shares
        return whole

    def finish(self) -> list[pa.Table]:
        """Return what is there of epochs whose other shares will not come."""
        shares, self._shares = self._shares, {}
        return [self._rows(each) for each in shares.values()]

    def _is_alone(self, result: EpochResult) -> bool:
        """Whether it stands for empty epochs, of which one merger tells."""
        timed = self._summaries[result.summary].window_us > 0
        return timed and not result.records and not result.missing

    def _rows(self, shares: list[EpochResult]) -> pa.Table:
        return epoch_rows(shares, self._summaries[shares[0].summary].key_parts)


def _epoch(result: EpochResult) -> tuple[str, int]:
    return result.summary, int(result.start.timestamp() * 1_000_000)
