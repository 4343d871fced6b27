"""`tocsin outlier`: fit and score any table, outside the lake."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table, show_score
from tocsin.errors import InputError, ModelError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from tocsin.detector import Scored
    from tocsin.lifecycle.model import Model

ALGORITHMS = ("hbos", "iforest", "autoencoder", "hybrid")
SHOWN = 20

table_argument = click.argument("table", type=click.Path(path_type=Path), metavar="TABLE")
header_option = click.option(
    "--no-header",
    is_flag=True,
    help="The CSV has no line of names: columns are c1, c2, …  [default: when a number is in its first line]",
)


@click.group()
def outlier() -> None:
    """Learn what rows of a table look like, and score others against them.

    TABLE is a CSV file (also .gz) or a Parquet file. Nothing is read from or written to the lake.

    \b
    tocsin outlier fit normal.csv --model normal.model --exclude customer
    tocsin outlier score today.csv --model normal.model --top 10
    """


@outlier.command()
@table_argument
@click.option(
    "--model", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File the model is written to."
)
@click.option("--algorithm", type=click.Choice(ALGORITHMS), help="What is fitted.  [default: training.algorithm]")
@click.option("--exclude", multiple=True, metavar="COLUMN", help="Column that is not looked at; may be repeated.")
@click.option("--where", metavar="SQL", help="Fit on the rows for which this holds.")
@click.option("--seed", type=int, help="Seed of everything random.  [default: training.seed]")
@header_option
@json_option
@click.pass_obj
def fit(
    app: App,
    table: Path,
    model: Path,
    algorithm: str | None,
    exclude: tuple[str, ...],
    where: str | None,
    seed: int | None,
    *,
    no_header: bool,
    as_json: bool,
) -> None:
    """Learn what is normal from the rows of TABLE.

    \b
    tocsin outlier fit flows.parquet --model flows.model
    tocsin outlier fit kdd.csv.gz --model kdd.model --where "label = 'normal'" --exclude label --exclude difficulty
    """
    from tocsin.cli.tables import keep_rows, read_table
    from tocsin.detector import dump_state

    rows = read_table(table, header=not no_header)
    _check_names(exclude, rows.column_names, "--exclude", table)
    if where:
        rows = keep_rows(rows, where)
    fitted, left_out = _fit(app, rows, algorithm, exclude, seed)
    data = dump_state(fitted.state())
    try:
        model.write_bytes(data)
    except OSError as error:
        raise ModelError(f"{model}: cannot be written: {error.strerror}") from error
    _tell_fit(fitted, rows.num_rows, left_out, model, as_json=as_json)


@outlier.command()
@table_argument
@click.option("--model", required=True, type=click.Path(path_type=Path), help="File that `fit` wrote.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the N most unusual rows, these first.")
@click.option("--reasons", type=click.IntRange(min=1, max=16), help="Reasons a row.  [default: scoring.top_reasons]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all rows with their scores to this Parquet file.",
)
@header_option
@json_option
@click.pass_obj
def score(
    app: App,
    table: Path,
    model: Path,
    top: int | None,
    reasons: int | None,
    out: Path | None,
    *,
    no_header: bool,
    as_json: bool,
) -> None:
    """Score the rows of TABLE: 0 to 100, the share of the rows learned from that score lower.

    With --json: one list, a row a line, with row (from 0), score, raw (the algorithm's own scale) and reasons (field,
    seen, expected, share of what speaks against the row).

    \b
    tocsin outlier score today.csv --model normal.model
    tocsin outlier score today.csv --model normal.model --json
    tocsin outlier score today.parquet --model normal.model --out scored.parquet
    """
    from tocsin.cli.tables import read_table

    loaded = _load(app, model, reasons)
    rows = read_table(table, header=not no_header)
    scored = loaded.detector.score(rows)
    expected = {name: loaded.detector.expected(name) for name in scored.fields}
    found = _Scores(rows, scored, loaded.calibration.score(scored.raw), expected)
    if out:
        _write(out, found)
    if as_json:
        _print_rows(found, found.order(top))
    elif not out or top:
        _tell_scores(found, found.order(top or SHOWN))
    if out and not as_json:
        click.echo(f"{rows.num_rows:,} rows with their scores are in {out}", err=True)


def _check_names(given: tuple[str, ...], known: list[str], option: str, path: Path) -> None:
    import difflib

    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(known[:12])}"
            raise InputError(f"{option}: {path} has no column {name!r}{hint}")


def _fit(
    app: App, rows: "pa.Table", algorithm: str | None, exclude: tuple[str, ...], seed: int | None
) -> "tuple[Model, dict[str, str]]":
    from tocsin.detectors.outlier.detector import OutlierDetector
    from tocsin.detectors.outlier.fields import infer_fields
    from tocsin.lifecycle.model import Model
    from tocsin.verdict.calibration import Calibration

    settings = app.settings
    fields, left_out = infer_fields(rows, exclude)
    if not fields:
        raise InputError("the table has no column that can be compared: " + _and_why(left_out))
    detector = OutlierDetector(
        algorithm or settings.training.algorithm,
        fields=fields,
        num_bins=settings.features.num_bins,
        histogram_type=settings.features.histogram_type,
        ipv4_prefix=settings.features.ipv4_prefix,
        ipv6_prefix=settings.features.ipv6_prefix,
        ip_hash_modulus=settings.features.ip_hash_modulus,
        seed=settings.training.seed if seed is None else seed,
        top_reasons=0,
        threads=settings.limits.threads,
    ).fit([rows])
    return Model(detector, Calibration.fit(detector.score(rows).raw)), left_out


def _load(app: App, path: Path, reasons: int | None) -> "Model":
    from tocsin.detector import load_state
    from tocsin.detectors.outlier.detector import OutlierDetector
    from tocsin.lifecycle.model import restore

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; `tocsin outlier fit` writes models") from error
    settings = app.settings
    detector = OutlierDetector(top_reasons=reasons or settings.scoring.top_reasons, threads=settings.limits.threads)
    try:
        return restore(load_state(data), detector)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _and_why(left_out: dict[str, str]) -> str:
    return "; ".join(f"{name} ({why})" for name, why in left_out.items())


def _tell_fit(fitted: "Model", rows: int, left_out: dict[str, str], path: Path, *, as_json: bool) -> None:
    detector: Any = fitted.detector
    fields = [
        {"field": spec.name, "kind": spec.kind, "expected": detector.expected(spec.name)}
        for spec in detector.normaliser.fields
    ]
    if as_json:
        told = {
            "model": str(path),
            "algorithm": detector.algorithm,
            "rows": rows,
            "fields": fields,
            "left_out": left_out,
        }
        print_json(told)
        return
    title = f"{detector.algorithm} fitted on {rows:,} rows"
    print_table(title, ["field", "kind", "expected"], [list(field.values()) for field in fields])
    if left_out:
        click.echo(f"Left out: {_and_why(left_out)}")
    click.echo(f"Written to {path}. Next: tocsin outlier score TABLE --model {path}")


@dataclass(frozen=True)
class _Scores:
    """A table with its scores, and what was expected of each field."""

    rows: "pa.Table"
    scored: "Scored"
    scores: "np.ndarray"
    expected: dict[str, str]

    def order(self, top: int | None) -> list[int]:
        """Return row numbers: as they come, or the `top` highest first."""
        import numpy as np

        if top is None:
            return list(range(len(self.scores)))
        first: list[int] = np.lexsort((-self.scored.raw, -self.scores))[:top].tolist()
        return first

    def reasons(self, row: int) -> list[dict[str, Any]]:
        """Return the reasons of a row, the weightiest first."""
        told = []
        fields, shares = self.scored.reason_field[row].tolist(), self.scored.reason_share[row].tolist()
        for at, share in zip(fields, shares, strict=True):
            if at >= 0:
                name = self.scored.fields[at]
                seen = self.rows.column(name)[row].as_py() if name in self.rows.column_names else None
                told.append({"field": name, "seen": seen, "expected": self.expected[name], "share": round(share, 4)})
        return told

    def row(self, row: int) -> dict[str, Any]:
        """Return what is told of a row."""
        return {
            "row": row,
            "score": round(float(self.scores[row]), 4),
            "raw": round(float(self.scored.raw[row]), 6),
            "reasons": self.reasons(row),
        }


def _print_rows(found: _Scores, order: list[int]) -> None:
    click.echo("[")
    for i, row in enumerate(order):
        line = json.dumps(found.row(row), default=str, ensure_ascii=False)
        click.echo(line + ("," if i < len(order) - 1 else ""))
    click.echo("]")


def _tell_scores(found: _Scores, order: list[int]) -> None:
    lines = []
    for row in order:
        told = [f"{one['field']} = {one['seen']} (expected {one['expected']})" for one in found.reasons(row)]
        lines.append([row, show_score(found.scores[row]), "; ".join(told)])
    print_table(f"{len(lines):,} of {found.rows.num_rows:,} rows", ["row", "score", "why"], lines)


def _write(out: Path, found: _Scores) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    scored = found.scored
    own = {"score": pa.array(found.scores, pa.float64()), "raw": pa.array(scored.raw, pa.float64())}
    names = pa.array([*scored.fields, None], pa.string())
    expected = pa.array([*(found.expected[name] for name in scored.fields), None], pa.string())
    for rank in range(scored.reason_field.shape[1]):
        at = pa.array(scored.reason_field[:, rank].astype("int64") % len(names))
        own[f"reason_{rank + 1}"] = names.take(at)
        own[f"reason_{rank + 1}_expected"] = expected.take(at)
        own[f"reason_{rank + 1}_share"] = pa.array(scored.reason_share[:, rank], pa.float32())
    kept = found.rows.select([name for name in found.rows.column_names if name not in own])
    for name, column in own.items():
        kept = kept.append_column(name, column)
    try:
        pq.write_table(kept, out, compression="zstd")
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{out}: cannot be written: {error}") from error
