"""Detection quality of the novelty detector beside its peers: the same rows, in order of time, without labels.

    python bench/novelty_detection.py [--order given|auto] [--raw]

Printed: ROC AUC and average precision. Labels are used for these two figures alone. Data from TOCSIN_DATA
(../shared/data beside the project). Ours sees each observation once, counts it, scores it, and knows nothing of what
follows. The peers:

- isolation forest (scikit-learn) on one-hot values. It cannot stream: it is fitted on all the rows that it then scores,
  so it knows the future, and which values there are.
- HBOS on frequencies: for a category the method's histogram is the values' frequencies (Goldstein and Dengel 2012), so
  the score is the sum of -log(frequency). PyOD's HBOS has no categories; as "HBOS (PyOD)" it is given each value's
  frequency as a number, and bins that. Both are fitted on all rows. The two differ much, so both are printed.
- MStream (rcf3, defaults), streaming like ours. It needs a clock: a tick an observation, as ours has no time but the
  order. With ticks of minutes it finds bursts, which is another question; it is printed where times are known.

The rows and what is called an anomaly in them:

- iot23-34-1: proto, service, conn_state, history, resp_port; whatever is not labelled benign. That is 92 % of the rows,
  most of it one kind of flow, while what is benign is rare: whoever looks for the rare lies far below chance.
- nsl-kdd: protocol, service, flag; the normal rows of the first 20 % of training, then all test rows, which are judged.
- adfa-ld: pairs of successive calls; normal training traces first, then the normal validation and the attack traces in
  a seeded mixed order, which are judged: the mean over a trace's pairs is the trace's score, for all alike.
- loghub-openssh: event, user, source address. The log has no labels, and guessing passwords is its normal state. What
  is called odd decides the outcome, so three definitions are printed:
  "login": the one login that succeeds, its session and end: 4 lines, so the figures are coarse;
  "odd": the 16 templates of fewer than 20 lines each. It is circular, for the event is a component and its frequency
  makes the label: it says that the rare is found, not that attacks are;
  "guesses": the lines of failed logins, three quarters of the file, as whoever hunts attackers would label them.
"""

import argparse
import csv
import gzip
import os
import re
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.metrics import average_precision_score, roc_auc_score

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options

DATA = Path(os.environ.get("TOCSIN_DATA") or Path(__file__).parent.parent.parent / "shared" / "data")
IOT_FIELDS = ("proto", "service", "conn_state", "history", "id.resp_p")
KDD_FIELDS, KDD_LABEL = (1, 2, 3), 41
SSH_LABELS = {
    "login": (1, 22, 23, 26),
    "odd": (1, 3, 4, 5, 6, 8, 11, 14, 15, 16, 17, 18, 22, 23, 25, 26),
    "guesses": (4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 27),
}
"""Numbers of the templates that each definition calls odd."""

SSH_USER = re.compile(r"(?:[Ii]nvalid user|for user|user=|password for|failures for) ?(\w+)")
SSH_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
BATCH = 100_000


@dataclass(frozen=True)
class Stream:
    """Observations in order of time.

    columns: each component's values. truth: (units,) bool, and judged: (units,) bool, which of them count; a unit is an
    observation, or a group of them where `group`, (n,) int64, says which.
    """

    columns: list[list[str]]
    truth: np.ndarray
    judged: np.ndarray
    group: np.ndarray | None = None
    minutes: np.ndarray | None = None

    def figures(self, scores: np.ndarray) -> tuple[float, float]:
        """Return ROC AUC and average precision of the observations' scores."""
        if self.group is not None:
            scores = np.bincount(self.group, scores) / np.bincount(self.group)
        truth, scores = self.truth[self.judged], scores[self.judged]
        return float(roc_auc_score(truth, scores)), float(average_precision_score(truth, scores))


def iot23() -> Stream:
    """Read the flows in order of their start; the file is not quite sorted."""
    with gzip.open(DATA / "flows" / "iot23-34-1.conn.log.labeled.gz", "rt") as file:
        lines = [line.rstrip("\n").split("\t") for line in file]
    names = next(line[1:] for line in lines if line[0] == "#fields")
    rows = sorted((line for line in lines if not line[0].startswith("#")), key=lambda row: float(row[0]))
    columns = [[row[names.index(field)] for row in rows] for field in IOT_FIELDS]
    truth = np.array(["benign" not in row[-1].lower() for row in rows])
    begun = np.array([float(row[0]) for row in rows])
    return Stream(columns, truth, np.ones(len(rows), bool), minutes=((begun - begun[0]) // 60).astype(int))


def kdd_rows(name: str) -> list[list[str]]:
    with gzip.open(DATA / "flows" / name, "rt") as file:
        return [line.rstrip("\n").split(",") for line in file]


def nsl_kdd() -> Stream:
    train = [row for row in kdd_rows("nsl-kdd-train20.csv.gz") if row[KDD_LABEL] == "normal"]
    rows = train + kdd_rows("nsl-kdd-test.csv.gz")
    truth = np.array([row[KDD_LABEL] != "normal" for row in rows])
    return Stream([[row[at] for row in rows] for at in KDD_FIELDS], truth, np.arange(len(rows)) >= len(train))


def adfa_ld() -> Stream:
    with zipfile.ZipFile(DATA / "events" / "adfa-ld.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt") and "__MACOSX" not in name)
        parts = ("Training", "Validation", "Attack")
        kinds = {part: [name for name in names if f"/{part}_Data" in name] for part in parts}
        later = np.random.default_rng(0).permutation(kinds["Validation"] + kinds["Attack"]).tolist()
        traces = [(name, archive.read(name).decode().split()) for name in kinds["Training"] + later]
    traces = [(name, calls) for name, calls in traces if len(calls) > 1]
    before = [call for _, calls in traces for call in calls[:-1]]
    after = [call for _, calls in traces for call in calls[1:]]
    group = np.repeat(np.arange(len(traces)), [len(calls) - 1 for _, calls in traces])
    truth = np.array(["/Attack_Data" in name for name, _ in traces])
    judged = np.array(["/Training_Data" not in name for name, _ in traces])
    return Stream([before, after], truth, judged, group)


def openssh(label: str) -> Stream:
    with (DATA / "events" / "loghub-openssh" / "OpenSSH_2k.log_structured.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    users = [found[1] if (found := SSH_USER.search(row["Content"])) else "" for row in rows]
    addresses = [found[0] if (found := SSH_ADDRESS.search(row["Content"])) else "" for row in rows]
    events = [row["EventId"] for row in rows]
    return Stream(
        [events, users, addresses], np.isin(events, [f"E{n}" for n in SSH_LABELS[label]]), np.ones(len(rows), bool)
    )


def ours(columns: list[list[str]], order: str = "given", *, raw: bool = False) -> np.ndarray:
    """Return the score of each observation at the moment when it came: (n,) float64."""
    model, scores = NoveltyModel(Options(order=order)), []
    for start in range(0, len(columns[0]), BATCH):
        result = model.observe([pa.array(column[start : start + BATCH], pa.string()) for column in columns])
        scores.append(result.raw if raw else result.score)
    return np.concatenate(scores)


def codes(columns: list[list[str]]) -> np.ndarray:
    """Number each column's values from 0: (n, L) int64."""
    return np.column_stack([np.unique(np.array(column), return_inverse=True)[1] for column in columns])


def frequencies(columns: list[list[str]]) -> np.ndarray:
    """Return each value's share of its column: (n, L) float64."""
    numbers = codes(columns)
    return np.column_stack([np.bincount(column)[column] / len(numbers) for column in numbers.T])


def isolation_forest(stream: Stream) -> np.ndarray:
    from sklearn.ensemble import IsolationForest
    from sklearn.preprocessing import OneHotEncoder

    rows = OneHotEncoder(handle_unknown="ignore").fit_transform(codes(stream.columns)).tocsr()
    scores: np.ndarray = -IsolationForest(random_state=0).fit(rows).score_samples(rows)
    return scores


def hbos(stream: Stream) -> np.ndarray:
    scores: np.ndarray = -np.log(frequencies(stream.columns)).sum(axis=1)
    return scores


def hbos_pyod(stream: Stream) -> np.ndarray:
    from pyod.models.hbos import HBOS

    scores: np.ndarray = HBOS().fit(frequencies(stream.columns)).decision_scores_
    return scores


def mstream(stream: Stream, ticks: np.ndarray | None = None) -> np.ndarray:
    from rcf3 import MStream

    rows = codes(stream.columns)
    ticks = np.arange(len(rows)) if ticks is None else ticks
    model = MStream(0, rows.shape[1], seed=0)
    pairs = zip(rows.tolist(), ticks.tolist(), strict=True)
    return np.array([model.update_and_score([], row, tick + 1) for row, tick in pairs])


STREAMS: dict[str, Callable[[], Stream]] = {
    "iot23-34-1": iot23,
    "nsl-kdd": nsl_kdd,
    "adfa-ld": adfa_ld,
    **{f"loghub-openssh, {label}": partial(openssh, label) for label in SSH_LABELS},
}
PEERS: dict[str, Callable[[Stream], np.ndarray]] = {
    "isolation forest": isolation_forest,
    "HBOS": hbos,
    "HBOS (PyOD)": hbos_pyod,
    "MStream": mstream,
}


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--order", choices=("given", "auto"), default="given", help="how ours judges a component")
    parser.add_argument("--raw", action="store_true", help="ours before it is calibrated")
    arguments = parser.parse_args()
    heads = "".join(f"{name:>18}" for name in ("ours", *PEERS))
    print(f"{'ROC AUC, average precision':28}{'rows':>10}{'odd':>7}{heads}")
    for name, load in STREAMS.items():
        began, stream = time.perf_counter(), load()
        scores = [ours(stream.columns, arguments.order, raw=arguments.raw)]
        scores += [judge(stream) for judge in PEERS.values()]
        figures = "".join(cell(stream, each) for each in scores)
        share = stream.truth[stream.judged].mean()
        took = time.perf_counter() - began
        print(f"{name:28}{len(stream.columns[0]):10,}{share:7.1%}{figures}   {took:.0f} s", flush=True)
        if stream.minutes is not None:
            print(f"{'  MStream, ticks of minutes':45}{cell(stream, mstream(stream, stream.minutes))}")


def cell(stream: Stream, scores: np.ndarray) -> str:
    return "{:11.4f} {:6.4f}".format(*stream.figures(scores))


if __name__ == "__main__":
    main()
