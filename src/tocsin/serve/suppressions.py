"""Suppressions: rules that hide what is known. What is said of one is what `tocsin suppress … --json` prints."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from tocsin.errors import LedgerError
from tocsin.ledger.documents import added_document, removed_document, rule_document
from tocsin.records.suppression import Suppression, new_rule
from tocsin.serve.asked import Asked, Nothing, Page, SomeTime, Text, Time, ago, ahead
from tocsin.serve.auth import needs, who
from tocsin.serve.findings import FindingDocument
from tocsin.serve.parts import Parts
from tocsin.serve.problems import Problem

RuleId = Annotated[str, Path(max_length=64, description="Its whole id.")]


class _Rule(BaseModel):
    id: str
    owner: str
    reason: str
    created: Time
    domain: str
    entity: str
    network: str
    field: str
    value: str
    detector: str
    kind: str
    valid_from: Time | None
    valid_until: Time | None
    weekdays: str
    hours: str
    expires: Time | None
    hits: int
    last_hit: Time | None


class RuleDocument(_Rule):
    """A rule, and whether it still holds."""

    active: bool


class AddedRule(_Rule):
    """A rule that was just added, and the ids of the stored findings that it hid."""

    hidden: list[str]


class RemovedRule(BaseModel):
    """That a rule is gone, and how many findings came back into sight."""

    id: str
    shown_again: int


class RulePage(BaseModel):
    """A page of rules; `next` is what to give as `after` for the one behind it."""

    suppressions: list[RuleDocument]
    total: int
    next: str | None


class HiddenPage(BaseModel):
    """The first of the findings that a rule would hide, highest score first, and how many it would hide in all."""

    findings: list[FindingDocument]
    total: int


class RuleQuery(Page):
    """Which rules."""

    active: Annotated[bool, Field(description="Only those that have not expired.")] = False


class HiddenQuery(Asked):
    """How much is shown."""

    limit: int = Field(50, ge=1, le=1000, description="Most findings that are given.")


class Conditions(Asked):
    """What a rule hides; every condition that is given must hold, and one must be given."""

    entity: Text = Field("", description="This entity, exactly.")
    network: Text = Field("", description="Entities in this CIDR block.", examples=["10.9.0.0/16"])
    field: Text = Field("", description="Findings about this field.", examples=["dport"])
    value: Text = Field("", description="… and this value of it.")
    kind: Text = Field("", description="This kind, such as beacon.")
    detector: Text = Field("", description="This detector.")
    weekdays: Text = Field("", description="Records of these days, UTC.", examples=["mon-fri", "sat,sun"])
    hours: Text = Field("", description="Records of these hours, UTC.", examples=["22-06", "08:30-17:00"])
    valid_from: SomeTime | None = Field(None, description="Records from this time on.")
    valid_until: SomeTime | None = Field(None, description="Records before this time.")


class NewRule(Conditions):
    """A rule to be added."""

    owner: Text = Field("", description="Who answers for it; the caller when empty.")
    reason: Text = Field(description="Why this need not ring.", min_length=1)
    expires: SomeTime | None = Field(
        None, description="When it ends by itself: 30d from now, or a time; never if null."
    )


class _Suppressions:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def page(self, asked: Annotated[RuleQuery, Query()]) -> dict[str, Any]:
        """List the rules, oldest first, with how many findings each has hidden."""
        self._parts.verdict.expire()
        now = self._parts.clock.now()
        rules = self._rules()
        kept = [rule for rule in rules if not asked.active or rule.active_at(now)]
        at = self._behind(kept, asked.after)
        shown = kept[at : at + asked.limit]
        return {
            "suppressions": [rule_document(rule, now) for rule in shown],
            "total": len(kept),
            "next": shown[-1].id if at + asked.limit < len(kept) else None,
        }

    def show(self, rule_id: RuleId, _: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Show one rule."""
        return rule_document(self._one(rule_id), self._parts.clock.now())

    def add(
        self, asked: NewRule, request: Request, response: Response, _: Annotated[Nothing, Query()]
    ) -> dict[str, Any]:
        """Add a rule, and hide the stored findings that it matches."""
        expires = ahead(asked.expires, self._parts.clock.now(), "expires")
        rule = self._rule(asked, owner=asked.owner or who(request).name, reason=asked.reason, expires=expires)
        hidden = self._parts.verdict.add_rule(rule)
        response.headers["Location"] = f"{request.url.path}/{rule.id}"
        return added_document(rule, hidden)

    def test(self, asked: Conditions, query: Annotated[HiddenQuery, Query()]) -> dict[str, Any]:
        """Show which stored findings a rule would hide, without adding it."""
        hidden = self._parts.verdict.would_hide(self._rule(asked, owner="test", reason="test"))
        return {"findings": [finding.to_dict() for finding in hidden[: query.limit]], "total": len(hidden)}

    def remove(self, rule_id: RuleId, _: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Drop a rule, and show again what only it hid."""
        self._one(rule_id)
        try:
            return removed_document(rule_id, self._parts.verdict.remove_rule(rule_id))
        except LedgerError:
            self._one(rule_id)  # somebody else may have dropped it just now
            raise

    def _rules(self) -> list[Suppression]:
        domains = ("", self._parts.domain)
        return [rule for rule in self._parts.ledger.suppressions() if rule.domain in domains]

    def _one(self, rule_id: str) -> Suppression:
        found = next((rule for rule in self._rules() if rule.id == rule_id), None)
        if found is None:
            detail = f"there is no suppression {rule_id!r}"
            raise Problem(
                404, detail=detail, field="path.rule_id", remedy="GET /api/v1/suppressions lists those there are"
            )
        return found

    def _behind(self, rules: list[Suppression], rule_id: str | None) -> int:
        """Return where a page behind a rule begins."""
        if rule_id is None:
            return 0
        at = next((at for at, rule in enumerate(rules, 1) if rule.id == rule_id), None)
        if at is None:
            detail = f"there is no suppression {rule_id!r} in this list"
            raise Problem(422, detail=detail, field="query.after", remedy="begin again without `after`")
        return at

    def _rule(self, asked: Conditions, **said: Any) -> Suppression:
        now = self._parts.clock.now()
        about = asked.model_dump(include=set(Conditions.model_fields))
        for name in ("valid_from", "valid_until"):
            about[name] = ago(about[name], now, name)
        return new_rule(Suppression(id="", created=now, domain=self._parts.domain, **about, **said))


def routes(parts: Parts) -> APIRouter:
    """Return the routes of suppressions."""
    router, here = APIRouter(prefix="/api/v1", tags=["suppressions"]), _Suppressions(parts)
    read, write = [needs("read")], [needs("write")]
    rules, one = "/suppressions", "/suppressions/{rule_id}"
    router.get(rules, summary="List rules", response_model=RulePage, dependencies=read)(here.page)
    added: dict[str, Any] = {"summary": "Add a rule", "status_code": 201, "response_model": AddedRule}
    router.post(rules, dependencies=write, **added)(here.add)
    router.post(f"{rules}/test", summary="Try a rule", response_model=HiddenPage, dependencies=read)(here.test)
    router.get(one, summary="Show a rule", response_model=RuleDocument, dependencies=read)(here.show)
    router.delete(one, summary="Drop a rule", response_model=RemovedRule, dependencies=write)(here.remove)
    return router
