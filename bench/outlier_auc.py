"""Detection quality of the table detector beside its peers, fitted on normal rows, scored on unseen ones.

NSL-KDD by file, numeric columns only, and further sets so that one of them cannot be tuned to. Data from TOCSIN_DATA
(../shared/data beside the project); no label is used but to compute the area under the ROC curve.
"""

import gzip
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from sklearn import datasets
from sklearn.metrics import roc_auc_score

from tocsin.detectors.outlier import FieldSpec, OutlierDetector

DATA = Path(os.environ.get("TOCSIN_DATA") or Path(__file__).parent.parent.parent / "shared" / "data")
TEXT = {1, 2, 3, 41, 42}
"""Columns of NSL-KDD that are no numeric features: protocol, service, flag, label, difficulty."""

Split = tuple[np.ndarray, np.ndarray, np.ndarray]


def kdd(name: str) -> tuple[np.ndarray, np.ndarray]:
    table = pc.read_csv(DATA / "flows" / name, read_options=pc.ReadOptions(autogenerate_column_names=True))
    attack = np.array(table.column(41).to_pylist()) != "normal"
    return np.column_stack([table.column(i).to_numpy() for i in range(43) if i not in TEXT]).astype(float), attack


def nsl_kdd() -> Split:
    (train, bad), (test, truth) = kdd("nsl-kdd-train20.csv.gz"), kdd("nsl-kdd-test.csv.gz")
    return train[~bad], test, truth


def nsl_kdd_reversed() -> Split:
    (train, bad), (test, truth) = kdd("nsl-kdd-test.csv.gz"), kdd("nsl-kdd-train20.csv.gz")
    return train[~bad], test, truth


def cic_ids(*, first: bool) -> Split:
    table = pc.read_csv(DATA / "streams" / "cic-ids2017-sample.csv.gz")
    x = np.column_stack([column.to_numpy() for column in table.columns[:-1]]).astype(float)
    attack = table.columns[-1].to_numpy() != 0
    half = len(x) // 2
    train, test = (slice(None, half), slice(half, None)) if first else (slice(half, None), slice(None, half))
    return x[train][~attack[train]], x[test], attack[test]


def iot23() -> Split:
    with gzip.open(DATA / "flows" / "iot23-34-1.conn.log.labeled.gz", "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
    wanted = (8, 9, 10, 16, 17, 18, 19)  # duration, bytes and packets of both sides
    x = np.array([[-1 if row[i] in "-" else float(row[i]) for i in wanted] for row in rows])
    attack = np.array(["enign" not in row[-1] for row in rows])
    normal = np.flatnonzero(~attack)
    train = normal[: len(normal) // 2]
    rest = np.setdiff1d(np.arange(len(x)), train)
    return x[train], x[rest], attack[rest]


def medicine() -> Split:
    return one_class(*datasets.load_breast_cancer(return_X_y=True), 0)


def digits() -> Split:
    return one_class(*datasets.load_digits(return_X_y=True), 4)


def one_class(x: np.ndarray, y: np.ndarray, odd: int) -> Split:
    """Fit on half of all classes but one."""
    normal = np.random.default_rng(0).permutation(np.flatnonzero(y != odd))
    rest = np.setdiff1d(np.arange(len(x)), normal[: len(normal) // 2])
    return x[normal[: len(normal) // 2]], x[rest], y[rest] == odd


def ours(algorithm: str, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    fields = [FieldSpec(f"f{i}", "numeric") for i in range(train.shape[1])]
    model = OutlierDetector(algorithm, fields=fields).fit([as_table(train)])
    return model.score(as_table(test)).raw


def as_table(x: np.ndarray) -> pa.Table:
    return pa.table({f"f{i}": np.ascontiguousarray(column) for i, column in enumerate(x.T)})


def theirs(name: str, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS
    from pyod.models.iforest import IForest

    model = {"HBOS": HBOS, "ECOD": ECOD, "IForest": lambda: IForest(random_state=0)}[name]()
    return model.fit(train).decision_function(test)


def main() -> None:
    warnings.simplefilter("ignore")
    sets = {
        "NSL-KDD": nsl_kdd,
        "NSL-KDD reversed": nsl_kdd_reversed,
        "CIC-IDS2017, first half": lambda: cic_ids(first=True),
        "CIC-IDS2017, second half": lambda: cic_ids(first=False),
        "IoT-23 34-1": iot23,
        "breast cancer": medicine,
        "digits, odd one 4": digits,
    }
    methods = {name: (ours, name) for name in ("hbos", "iforest", "autoencoder")}
    methods |= {f"PyOD {name}": (theirs, name) for name in ("HBOS", "ECOD", "IForest")}
    print(f"{'ROC AUC':26}{'fit':>8}{'scored':>8}" + "".join(f"{name:>14}" for name in methods))
    began = time.perf_counter()
    for name, load in sets.items():
        train, test, truth = load()
        areas = [roc_auc_score(truth, run(method, train, test)) for run, method in methods.values()]
        print(f"{name:26}{len(train):8}{len(test):8}" + "".join(f"{area:14.4f}" for area in areas), flush=True)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
