"""The ledger's tables as they are now. A change here goes with a step in migrations.py."""

from datetime import UTC, datetime

import sqlalchemy as sa


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A time that goes in and comes out aware, in UTC, whatever the database keeps."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert to UTC. Raises ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time without a zone: {value.isoformat()}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return it in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = sa.MetaData()

# SQLite numbers rows by itself only for a column of exactly this type.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

findings = sa.Table(
    "findings",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("domain", sa.Text, nullable=False),
    sa.Column("detector", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("start", UtcTime, nullable=False),
    sa.Column("end", UtcTime, nullable=False),
    sa.Column("raw", sa.Double, nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("records", sa.JSON, nullable=False),
    sa.Column("record_count", sa.BigInteger, nullable=False),
    sa.Column("scope", sa.JSON, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("suppressed_by", sa.Text, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("updated", UtcTime, nullable=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Index("findings_by_time", "domain", "start"),
    sa.Index("findings_by_score", "domain", "score"),
    sa.Index("findings_by_entity", "entity"),
)

# Which records each finding has been seen in, so that scoring them again counts nothing twice.
sightings = sa.Table(
    "sightings",
    METADATA,
    sa.Column("finding_id", sa.Text, sa.ForeignKey("findings.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("start", UtcTime, primary_key=True),
    sa.Column("end", UtcTime, primary_key=True),
    sa.Column("record_count", sa.BigInteger, primary_key=True),
)

labels = sa.Table(
    "labels",
    METADATA,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("finding_id", sa.Text, sa.ForeignKey("findings.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False, index=True),
)

suppressions = sa.Table(
    "suppressions",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("domain", sa.Text, nullable=False),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("network", sa.Text, nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("detector", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("valid_from", UtcTime),
    sa.Column("valid_until", UtcTime),
    sa.Column("weekdays", sa.Text, nullable=False),
    sa.Column("hours", sa.Text, nullable=False),
    sa.Column("expires", UtcTime),
    sa.Column("hits", sa.BigInteger, nullable=False),
    sa.Column("last_hit", UtcTime),
)

budgets = sa.Table(
    "budgets",
    METADATA,
    sa.Column("domain", sa.Text, primary_key=True),
    sa.Column("detector", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("dropped", sa.BigInteger, nullable=False),
)

# Which findings the noise budget kept out, so that judging them again counts nothing twice.
dropped = sa.Table(
    "dropped",
    METADATA,
    sa.Column("finding_id", sa.Text, primary_key=True),
)

# Findings that a sink has not yet taken; a row goes when it has.
deliveries = sa.Table(
    "deliveries",
    METADATA,
    sa.Column("finding_id", sa.Text, sa.ForeignKey("findings.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("place", sa.Text, primary_key=True),
)

jobs = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("domain", sa.Text, nullable=False),
    sa.Column("piece", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("started", UtcTime, nullable=False),
    sa.Column("finished", UtcTime),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),
    sa.Index("jobs_by_piece", "name", "domain", "piece"),
)

# Who may use the service, and what they may do there; of a key only its hash is kept.
api_keys = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("expires", UtcTime),
    sa.Column("last_used", UtcTime),
    sa.Column("revoked", UtcTime),
)

schema_version = sa.Table(
    "schema_version",
    METADATA,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("applied", UtcTime, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)
