"""The ledger: what was found, what people said about it, what is known, and what was done.

SQLite beside the store by default, PostgreSQL by URL; several processes may use one ledger at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, TypedDict, Unpack

import sqlalchemy as sa

from tocsin.clock import Clock
from tocsin.errors import LedgerError
from tocsin.ledger import schema
from tocsin.ledger.database import Database, clean
from tocsin.ledger.keys import Keys
from tocsin.ledger.migrations import migrate
from tocsin.ledger.rows import Budget, Job, Label, Outcome, finding_row, to_finding, to_suppression
from tocsin.records.finding import NOISE_BUDGET, SEVERITIES, STATES, Finding, Severity, State
from tocsin.records.suppression import Suppression

_CHUNK = 500


class Filters(TypedDict, total=False):
    """Which findings: equal to, of this severity or above, whose time range meets [since, until); hidden ones too."""

    domain: str | None
    since: datetime | None
    until: datetime | None
    entity: str | None
    detector: str | None
    kind: str | None
    min_severity: Severity | None
    state: State | None
    include_suppressed: bool


class Ledger:
    """The database of findings, labels, suppressions and job history, migrated to this version when it is opened.

    Raises LedgerError from every method when the database cannot be used; its password is never in the message.
    """

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._clock = clock
        self._database = Database(url)
        self.shown = self._database.shown
        self.keys = Keys(self._database, clock)
        try:
            with self._database.writing() as connection:
                self.version = migrate(connection, clock)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def __repr__(self) -> str:
        return f"Ledger({self.shown})"

    # Findings

    def upsert_findings(
        self, findings: list[Finding], deliver_to: Sequence[str] = (), *, rises_are_news: bool = False
    ) -> list[bool]:
        """Keep findings, all or none; return for each whether it is new.

        A finding that is there already is widened to both time ranges, keeps the highest score with that score's
        severity, title, reasons and records, and counts one more when these records (start, end, how many) were not
        seen before. The same records scored again with no higher score change nothing. State and labels stay.

        A finding that comes into sight (new, or no longer hidden) or grows graver (with `rises_are_news`: gets a higher
        score) waits for delivery to each of these places from the same transaction on; `undelivered` gives it until
        `mark_delivered`.
        """
        new = [False] * len(findings)
        # In the order of ids, so that two writers never wait for each other in a circle.
        order = sorted(range(len(findings)), key=lambda index: findings[index].id)
        with self._database.writing() as connection:
            for index in order:
                new[index] = self._upsert(connection, findings[index], deliver_to, rises_are_news)
        return new

    def _upsert(
        self, connection: sa.Connection, finding: Finding, deliver_to: Sequence[str], rises_are_news: bool
    ) -> bool:
        row = finding_row(finding)
        is_new = self._add(connection, schema.findings, row)
        old: Finding | None = None
        if not is_new:
            # The lock (PostgreSQL's; SQLite's transaction has the whole file) keeps another's change from being lost.
            query = sa.select(schema.findings).where(schema.findings.c.id == row["id"]).with_for_update()
            old = to_finding(connection.execute(query).mappings().one())
        seen = {name: row[name] for name in ("start", "end", "record_count")}
        is_unseen = self._add(connection, schema.sightings, {"finding_id": row["id"], **seen})
        is_news = not finding.suppressed_by
        if old is not None:
            changes = _merge(old, finding, row, is_unseen)
            is_news = _is_news(old, changes, rises_are_news)
            if changes:
                changes["updated"] = self._clock.now()
                change = schema.findings.update().where(schema.findings.c.id == row["id"])
                connection.execute(change.values(changes))
        for place in deliver_to if is_news else ():
            self._add(connection, schema.deliveries, {"finding_id": row["id"], "place": place})
        return is_new

    def undelivered(self, place: str, limit: int = 1000) -> list[Finding]:
        """Return the findings in sight that wait for delivery to a place, oldest first."""
        columns, waiting = schema.findings.c, schema.deliveries.c
        query = sa.select(schema.findings).join(schema.deliveries, waiting.finding_id == columns.id)
        query = query.where(waiting.place == place, columns.suppressed_by == "").order_by(columns.created, columns.id)
        return self._findings(query.limit(limit))

    def mark_delivered(self, place: str, ids: Iterable[str]) -> None:
        """Forget that these findings wait for delivery to a place."""
        columns = schema.deliveries.c
        done = sorted(set(ids))
        with self._database.writing() as connection:
            for first in range(0, len(done), _CHUNK):
                chosen = columns.finding_id.in_(done[first : first + _CHUNK])
                connection.execute(schema.deliveries.delete().where(columns.place == place, chosen))

    def findings(
        self,
        *,
        limit: int | None = 100,
        offset: int = 0,
        order: Literal["score", "time"] = "score",
        after: Finding | None = None,
        **filters: Unpack[Filters],
    ) -> list[Finding]:
        """Return the findings that match the filters, highest score or newest first; limit None for all.

        after: go on behind this finding, so that neither one that comes nor one that goes moves a page.
        """
        columns = schema.findings.c
        first, second = (columns.score, columns.start) if order == "score" else (columns.start, columns.score)
        query = sa.select(schema.findings).where(*_conditions(**filters))
        if after is not None:
            one, two = (after.score, after.start) if order == "score" else (after.start, after.score)
            tied = sa.or_(second < two, sa.and_(second == two, columns.id > after.id))
            query = query.where(sa.or_(first < one, sa.and_(first == one, tied)))
        query = query.order_by(first.desc(), second.desc(), columns.id)
        return self._findings(query.limit(limit).offset(offset))

    def count_findings(self, **filters: Unpack[Filters]) -> int:
        """Return how many findings match the filters."""
        return self._count(*_conditions(**filters))

    def tally_findings(self, domain: str) -> dict[tuple[str, str], int]:
        """Return how many findings there are by detector and severity, without the suppressed ones."""
        columns = schema.findings.c
        query = sa.select(columns.detector, columns.severity, sa.func.count().label("n"))
        shown = query.where(columns.domain == domain, columns.suppressed_by == "")
        rows = self._rows(shown.group_by(columns.detector, columns.severity))
        return {(row["detector"], row["severity"]): row["n"] for row in rows}

    def finding(self, finding_id: str) -> Finding:
        """Return one finding by its id or its unique beginning. Raises LedgerError when none or several match."""
        column = schema.findings.c.id
        query = sa.select(schema.findings).where(column.startswith(clean(finding_id), autoescape=True)).order_by(column)
        found = self._findings(query.limit(4)) if finding_id else []
        exact = [finding for finding in found if finding.id == finding_id]
        if len(found) > 1 and not exact:
            ids = ", ".join(finding.id for finding in found)
            raise LedgerError(f"{finding_id!r} is the beginning of several findings: {ids}; give more of it")
        if not found:
            raise LedgerError(f"there is no finding {finding_id!r}; `tocsin findings list` shows those there are")
        return (exact or found)[0]

    def findings_by_id(self, ids: Iterable[str]) -> dict[str, Finding]:
        """Return the findings of these ids that there are, hidden ones too, by id."""
        wanted = sorted({clean(each) for each in ids})
        chunks = (wanted[first : first + _CHUNK] for first in range(0, len(wanted), _CHUNK))
        queries = (sa.select(schema.findings).where(schema.findings.c.id.in_(chunk)) for chunk in chunks)
        return {finding.id: finding for query in queries for finding in self._findings(query)}

    def count_new_findings(self, domain: str, detector: str, day: date) -> int:
        """Return how many findings of a detector start on a day and are not suppressed, for the noise budget."""
        columns = schema.findings.c
        start, end = _bounds(day)
        return self._count(
            columns.domain == domain,
            columns.detector == detector,
            columns.start >= start,
            columns.start < end,
            columns.suppressed_by == "",
        )

    def findings_scopes(self, domain: str, day: date, min_severity: Severity) -> list[Finding]:
        """Return the findings that meet a day, whose records are to stay out of its sample.

        What a rule hides or was labelled a false positive is normal, and so is not among them; what only the noise
        budget hides is.
        """
        start, end = _bounds(day)
        where = _conditions(domain=domain, since=start, until=end, min_severity=min_severity, include_suppressed=True)
        columns = schema.findings.c
        shown = columns.suppressed_by.in_(("", NOISE_BUDGET))
        query = sa.select(schema.findings).where(*where, shown, columns.state != "false_positive").order_by(columns.id)
        return self._findings(query)

    def set_suppressed(self, ids: Iterable[str], rule_id: str) -> int:
        """Hide findings by a rule, or show them again with rule_id ''; return how many changed."""
        changed = 0
        wanted = sorted(set(ids))
        columns = schema.findings.c
        with self._database.writing() as connection:
            for first in range(0, len(wanted), _CHUNK):
                chosen = columns.id.in_(wanted[first : first + _CHUNK])
                change = schema.findings.update().where(chosen, columns.suppressed_by != rule_id)
                changed += connection.execute(change.values(suppressed_by=rule_id)).rowcount
        return changed

    # Labels

    def label(self, finding_id: str, state: State, *, who: str, note: str = "") -> Finding:
        """Say what a finding is, by its id or its unique beginning, and return it as it is now. Raises LedgerError."""
        if state not in STATES:
            raise LedgerError(f"{state!r} is no state of a finding; choose from {', '.join(STATES)}")
        found = self.finding(finding_id)
        now = self._clock.now()
        values = {"finding_id": found.id, "state": state, "who": clean(who), "note": clean(note), "at": now}
        change = schema.findings.update().where(schema.findings.c.id == found.id)
        with self._database.writing() as connection:
            connection.execute(schema.labels.insert().values(values))
            connection.execute(change.values(state=state, updated=now))
        return replace(found, state=state, updated=now)

    def labels(self, finding_id: str | None = None, since: datetime | None = None) -> list[Label]:
        """Return what was said, oldest first."""
        columns = schema.labels.c
        query = sa.select(schema.labels).order_by(columns.at, columns.id)
        if finding_id is not None:
            query = query.where(columns.finding_id == finding_id)
        if since is not None:
            query = query.where(columns.at >= since)
        return [Label(**row) for row in self._rows(query)]

    # Suppressions and the noise budget

    def add_suppression(self, suppression: Suppression) -> None:
        """Keep a new rule. Raises LedgerError when its id is there already."""
        row = {key: clean(value) if isinstance(value, str) else value for key, value in asdict(suppression).items()}
        with self._database.writing() as connection:
            if not self._add(connection, schema.suppressions, row):
                raise LedgerError(f"there is a suppression {suppression.id!r} already")

    def suppressions(self, active_at: datetime | None = None) -> list[Suppression]:
        """Return the rules, oldest first; with `active_at`, those that have not expired then."""
        columns = schema.suppressions.c
        query = sa.select(schema.suppressions).order_by(columns.created, columns.id)
        if active_at is not None:
            query = query.where(columns.expires.is_(None) | (columns.expires > active_at))
        return [to_suppression(row) for row in self._rows(query)]

    def remove_suppression(self, suppression_id: str) -> int:
        """Drop a rule, show again what it hid, and return how many findings that is. Raises LedgerError."""
        rules, columns = schema.suppressions, schema.findings.c
        show = schema.findings.update().where(columns.suppressed_by == suppression_id).values(suppressed_by="")
        with self._database.writing() as connection:
            if connection.execute(rules.delete().where(rules.c.id == suppression_id)).rowcount == 0:
                raise LedgerError(
                    f"there is no suppression {suppression_id!r}; `tocsin suppress list` shows those there are"
                )
            return connection.execute(show).rowcount

    def expire_suppressions(self, at: datetime) -> list[str]:
        """Show again what the rules that have expired hid, and return the ids of those findings."""
        rules, columns = schema.suppressions.c, schema.findings.c
        expired = sa.select(rules.id).where(rules.expires <= at)
        hidden = sa.select(columns.id).where(columns.suppressed_by.in_(expired)).order_by(columns.id)
        ids = [row["id"] for row in self._rows(hidden)]
        if ids:
            self.set_suppressed(ids, "")
        return ids

    def hit_suppression(self, suppression_id: str, n: int, at: datetime) -> None:
        """Count n more findings that a rule has hidden."""
        rules = schema.suppressions
        latest = sa.case((rules.c.last_hit > at, rules.c.last_hit), else_=sa.bindparam("at", at, schema.UtcTime))
        change = rules.update().where(rules.c.id == suppression_id)
        with self._database.writing() as connection:
            connection.execute(change.values(hits=rules.c.hits + n, last_hit=latest))

    def count_budget(self, domain: str, detector: str, day: date, dropped: int) -> None:
        """Add to how many findings the noise budget kept out on a day."""
        with self._database.writing() as connection:
            connection.execute(self._count_dropped(domain, detector, day, dropped))

    def _count_dropped(self, domain: str, detector: str, day: date, dropped: int) -> sa.Insert:
        table = schema.budgets
        insert = self._database.insert(table).values(domain=domain, detector=detector, day=day, dropped=dropped)
        return insert.on_conflict_do_update(
            index_elements=[table.c.domain, table.c.detector, table.c.day], set_={"dropped": table.c.dropped + dropped}
        )

    def turn_away(self, domain: str, detector: str, day: date, ids: Iterable[str]) -> int:
        """Count findings that the noise budget kept out, each once however often it comes; return how many are new."""
        new = 0
        with self._database.writing() as connection:
            for finding_id in sorted(set(ids)):
                new += self._add(connection, schema.dropped, {"finding_id": finding_id})
            if new:
                connection.execute(self._count_dropped(domain, detector, day, new))
        return new

    def budgets(self, domain: str | None = None, since: date | None = None) -> list[Budget]:
        """Return what the noise budget kept out, by day and detector."""
        table = schema.budgets
        query = sa.select(table).order_by(table.c.day, table.c.domain, table.c.detector)
        if domain is not None:
            query = query.where(table.c.domain == domain)
        if since is not None:
            query = query.where(table.c.day >= since)
        return [Budget(**row) for row in self._rows(query)]

    # Jobs

    def start_job(self, name: str, *, domain: str, piece: str, owner: str) -> int:
        """Write down that a job has begun on a piece of work, and return its number."""
        values = {"name": name, "domain": domain, "piece": piece, "owner": owner, "outcome": "running", "note": ""}
        insert = schema.jobs.insert().values(**values, counts={}, started=self._clock.now()).returning(schema.jobs.c.id)
        with self._database.writing() as connection:
            return int(connection.execute(insert).scalar_one())

    def finish_job(self, job_id: int, outcome: Outcome, note: str = "", counts: dict[str, Any] | None = None) -> None:
        """Write down how a job ended. Raises LedgerError when there is no such job."""
        change = schema.jobs.update().where(schema.jobs.c.id == job_id)
        values = {"outcome": outcome, "note": clean(note), "counts": counts or {}, "finished": self._clock.now()}
        with self._database.writing() as connection:
            if connection.execute(change.values(values)).rowcount == 0:
                raise LedgerError(f"there is no job {job_id}")

    def jobs(
        self,
        name: str | None = None,
        limit: int | None = 50,
        *,
        domain: str | None = None,
        outcome: Outcome | None = None,
        before: int | None = None,
    ) -> list[Job]:
        """Return the last jobs, newest first; before: of those that began before the job of this number."""
        columns = schema.jobs.c
        query = sa.select(schema.jobs).order_by(columns.id.desc()).limit(limit)
        for column, value in ((columns.name, name), (columns.domain, domain), (columns.outcome, outcome)):
            if value is not None:
                query = query.where(column == clean(value))
        if before is not None:
            query = query.where(columns.id < before)
        return [Job(**row) for row in self._rows(query)]

    def last_jobs(self, domain: str | None = None) -> list[Job]:
        """Return the latest job of each name, domain and piece, by name and piece."""
        columns = schema.jobs.c
        latest = sa.select(sa.func.max(columns.id)).group_by(columns.name, columns.domain, columns.piece)
        query = (
            sa.select(schema.jobs).where(columns.id.in_(latest)).order_by(columns.name, columns.domain, columns.piece)
        )
        if domain is not None:
            query = query.where(columns.domain == domain)
        return [Job(**row) for row in self._rows(query)]

    def mark_abandoned(self, is_dead: Callable[[str], bool]) -> int:
        """Close the jobs that are still `running` though their owner is dead; return how many.

        is_dead: tells of an owner, as given to start_job, whether it can no longer be at work.
        """
        columns = schema.jobs.c
        query = sa.select(columns.owner).where(columns.outcome == "running").distinct()
        dead = [row["owner"] for row in self._rows(query) if is_dead(row["owner"])]
        change = schema.jobs.update().where(columns.outcome == "running", columns.owner.in_(dead))
        values = {"outcome": "abandoned", "note": "its process ended without a word", "finished": self._clock.now()}
        with self._database.writing() as connection:
            return connection.execute(change.values(values)).rowcount if dead else 0

    # Queries

    def _add(self, connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
        """Insert a row unless its key is there; tell whether it was not."""
        insert = self._database.insert(table).values(row).on_conflict_do_nothing()
        # Drivers do not agree on an insert's row count; the row that it returns is sure.
        return connection.execute(insert.returning(sa.literal(1))).first() is not None

    def _rows(self, query: sa.Select[Any]) -> list[sa.RowMapping]:
        with self._database.reading() as connection:
            return list(connection.execute(query).mappings())

    def _findings(self, query: sa.Select[Any]) -> list[Finding]:
        return [to_finding(row) for row in self._rows(query)]

    def _count(self, *where: sa.ColumnElement[bool]) -> int:
        query = sa.select(sa.func.count()).select_from(schema.findings).where(*where)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())


def _merge(old: Finding, seen: Finding, row: dict[str, Any], is_unseen: bool) -> dict[str, Any]:
    """Return the columns that a sighting changes; the same whatever the order of the sightings."""
    changes: dict[str, Any] = {}
    if is_unseen:
        changes = {
            "start": min(old.start, seen.start),
            "end": max(old.end, seen.end),
            "record_count": max(old.record_count, seen.record_count),
            "count": old.count + 1,
        }
        if not seen.suppressed_by:
            # A rule for some of its records does not hide the others.
            changes["suppressed_by"] = ""
    if (seen.score, seen.raw) > (old.score, old.raw):
        better = ("score", "severity", "title", "reasons", "records", "scope", "model")
        changes |= {name: row[name] for name in better}
    if seen.raw > old.raw:
        changes["raw"] = row["raw"]
    return changes


def _is_news(old: Finding, changes: dict[str, Any], rises_are_news: bool) -> bool:
    """Tell whether a change brings a finding into sight, or makes one in sight graver."""
    if changes.get("suppressed_by", old.suppressed_by):
        return False
    if rises_are_news and changes.get("score", old.score) > old.score:
        return True
    return bool(old.suppressed_by) or SEVERITIES.index(changes.get("severity", old.severity)) > SEVERITIES.index(
        old.severity
    )


def _conditions(**filters: Unpack[Filters]) -> list[sa.ColumnElement[bool]]:
    columns = schema.findings.c
    equal = {name: filters.get(name) for name in ("domain", "entity", "detector", "kind", "state")}
    where = [columns[name] == clean(value) for name, value in equal.items() if value is not None]
    since, until, least = filters.get("since"), filters.get("until"), filters.get("min_severity")
    if since is not None:
        where.append(columns.end >= since)
    if until is not None:
        where.append(columns.start < until)
    if least is not None:
        where.append(columns.severity.in_(SEVERITIES[SEVERITIES.index(least) :]))
    if not filters.get("include_suppressed", False):
        where.append(columns.suppressed_by == "")
    return where


def _bounds(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time.min, UTC)
    return start, start + timedelta(days=1)
