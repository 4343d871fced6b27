"""What `--json` on the command line and the service say of findings and rules: one shape for both."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tocsin.records.finding import Finding
from tocsin.records.suppression import Suppression

if TYPE_CHECKING:
    from tocsin.ledger.rows import Label


def finding_document(finding: Finding, said: "Iterable[Label]") -> dict[str, Any]:
    """Say a finding whole: why, the records behind it, what was said about it."""
    return finding.to_dict() | {"labels": [label.to_dict() for label in said]}


def rule_document(rule: Suppression, now: datetime) -> dict[str, Any]:
    """Say a rule, and whether it still holds."""
    return rule.to_dict() | {"active": rule.active_at(now)}


def added_document(rule: Suppression, hidden: Iterable[Finding]) -> dict[str, Any]:
    """Say a rule that was just added, and which stored findings it hid."""
    return rule.to_dict() | {"hidden": [finding.id for finding in hidden]}


def removed_document(rule_id: str, shown_again: int) -> dict[str, Any]:
    """Say that a rule is gone, and how many findings came back into sight."""
    return {"id": rule_id, "shown_again": shown_again}
