// The page at `/`: contexts, the most novel observations, findings and jobs, from the public API alone.
// Whatever was observed may come from an attacker: text enters the document as text nodes only, never as markup.

const POLL_MS = 2000;
const SLOWER = 5; // findings and jobs are asked for in every fifth round
const TIMEOUT_MS = 10_000;
const WAIT_AT_MOST_MS = 30_000;
const SPREADS_A_ROUND = 6; // score distributions renewed in one round
const ROWS = 50; // novel observations shown
const LOOKED_AT = 500; // of how many of the newest the most novel are taken
const KEY = "tocsin-key";

const by = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const twoDigits = new Intl.NumberFormat("en", { minimumSignificantDigits: 1, maximumSignificantDigits: 6, maximumFractionDigits: 2 , roundingPriority: "lessPrecision" });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// -- Drawing ----------------------------------------------------------------------------------------------------------

/** Return an element; `attributes` of null are left out, children that are no nodes become text. */
function make(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return text in which nothing is invisible or turns the reading direction: such characters are written as \u{…}. */
function plain(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  if (text === "") return "(empty)";
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, (found) => `\\u{${found.codePointAt(0).toString(16)}}`);
}

const scoreText = (score) => (Math.floor(score * 10_000) / 10_000).toFixed(4); // 0.99996 is not 1
const shareText = (share) => (share > 0 && share < 0.005 ? "<1 %" : `${Math.round(share * 100)} %`);
const rateText = (rate) => `${(rate < 1e6 ? twoDigits : short).format(rate < 10 ? rate : Math.round(rate))}/s`;

function bytesText(bytes) {
  const step = bytes < 1 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** step).toFixed(step ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][step]}`;
}

function when(text) {
  if (!text) return "";
  const [day, clock] = new Date(text).toISOString().split("T");
  const today = new Date().toISOString().startsWith(day);
  return make("time", { datetime: text, title: text }, `${today ? "" : `${day} `}${clock.slice(0, 8)}`);
}

/** Make `table` show `items`, a tbody each. What did not change is left alone, so that focus and reading place stay. */
function show(table, items, keyOf, drawn) {
  const had = new Map([...table.tBodies].map((body) => [body.dataset.key, body]));
  const fresh = items.filter((item) => !had.has(keyOf(item))).length;
  const marked = fresh <= items.length / 2; // where all is new, nothing needs a mark
  const focused = document.activeElement?.closest("tbody")?.dataset.key;
  let place = table.tHead;
  for (const item of items) {
    const key = keyOf(item);
    const version = JSON.stringify(item);
    let body = had.get(key);
    had.delete(key);
    if (body?.version !== version) {
      const fresh = make("tbody", { "data-key": key, class: marked && !body ? "new" : null });
      fresh.version = version;
      fresh.append(...drawn(item));
      body?.replaceWith(fresh);
      body = fresh;
    }
    if (place.nextElementSibling !== body) place.after(body);
    place = body;
  }
  for (const gone of had.values()) gone.remove();
  table.hidden = items.length === 0;
  if (focused !== undefined && document.activeElement === document.body) {
    [...table.tBodies].find((body) => body.dataset.key === focused)?.querySelector("button")?.focus();
  }
}

/** Return a row and, below it, why: shown or hidden by a button in the row. What is open stays open when redrawn. */
const opened = new Set();
function withWhy(key, label, name, cells, why) {
  const below = make("tr", { class: "why" }, make("td"), make("td", { colspan: 2 }, why));
  below.hidden = !opened.has(key);
  const toggle = (event) => {
    below.hidden = !below.hidden;
    opened[below.hidden ? "delete" : "add"](key);
    event.currentTarget.setAttribute("aria-expanded", String(!below.hidden));
  };
  const button = make("button", { type: "button", class: "plain", "aria-label": name, "aria-expanded": String(!below.hidden), click: toggle }, label);
  return [make("tr", {}, ...cells(button)), below];
}

function facts(pairs) {
  const known = Object.entries(pairs).filter(([, value]) => value !== undefined && value !== null);
  return make("dl", { class: "facts" }, ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

// -- Contexts ---------------------------------------------------------------------------------------------------------

const details = new Map(); // context -> what GET /novelty/{context} said, and at how many observations

async function renewContexts() {
  const contexts = (await get("novelty")).contexts;
  const names = contexts.map((each) => each.name);
  for (const name of details.keys()) if (!names.includes(name)) details.delete(name);
  offer(names);
  const chosen = by("filter-context").value;
  const stale = contexts.filter((each) => details.get(each.name)?.observed !== each.observed);
  stale.sort((one, other) => (other.name === chosen) - (one.name === chosen) || asked(one) - asked(other));
  await Promise.allSettled(stale.slice(0, SPREADS_A_ROUND).map(renewDetail)); // one may be gone by now
  by("first").hidden = contexts.length > 0;
  const shown = contexts.map((each) => ({ ...each, spread: details.get(each.name)?.histogram, chosen: each.name === chosen }));
  show(by("contexts"), shown, (each) => each.name, contextRow);
  showValues(chosen);
  const rate = contexts.reduce((sum, each) => sum + each.rate_per_s, 0);
  summary = `${contexts.length} ${contexts.length === 1 ? "context" : "contexts"}, ${rateText(rate)}`;
}

const asked = (context) => details.get(context.name)?.asked ?? 0;

async function renewDetail(context) {
  const detail = await get(`novelty/${encodeURIComponent(context.name)}`);
  details.set(context.name, { ...detail, observed: context.observed, asked: Date.now() });
}

function contextRow(context) {
  const choose = () => filterBy(context.chosen ? "" : context.name);
  const name = make("button", { type: "button", class: "plain", "aria-pressed": String(context.chosen), click: choose }, plain(context.name));
  const state = context.warm ? "" : "warming up";
  return [
    make("tr", { class: context.chosen ? "chosen" : null },
      make("th", { scope: "row" }, name, " ", make("small", {}, state)),
      make("td", { class: "number" }, rateText(context.rate_per_s)),
      make("td", { class: "number" }, number.format(context.observed)),
      make("td", { class: "number wide" }, number.format(context.entries)),
      make("td", { class: "number wide" }, bytesText(context.nbytes)),
      make("td", {}, context.spread ? spread(context.spread) : "")),
  ];
}

/** Return the distribution of a context's scores: a bar a bin, its height the logarithm of its count. */
function spread({ edges, counts }) {
  const most = Math.log1p(Math.max(1, ...counts));
  const bars = counts.map((count, i) => {
    const height = count ? Math.max(2.5, (24 * Math.log1p(count)) / most) : 0;
    const [x, width] = [edges[i] * 100, (edges[i + 1] - edges[i]) * 100];
    const said = draw("title", {}, `${edges[i].toFixed(2)} to ${edges[i + 1].toFixed(2)}: ${number.format(count)}`);
    return draw("rect", { x, y: 24 - height, width: Math.max(0.5, width - 0.6), height, class: edges[i] >= 0.9 ? "high" : null }, said);
  });
  const all = counts.reduce((sum, count) => sum + count, 0);
  const high = counts.reduce((sum, count, i) => sum + (edges[i] >= 0.9 ? count : 0), 0);
  const label = `Scores of ${number.format(all)} observations, ${number.format(high)} of them 0.9 or more`;
  return draw("svg", { class: "spread", viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img", "aria-label": label }, ...bars);
}

/** Show the most frequent values of the chosen context, a line a field. */
function showValues(chosen) {
  const top = details.get(chosen)?.top ?? [];
  by("values").hidden = top.length === 0;
  by("values").replaceChildren(...top.map((field) => {
    const values = field.values.slice(0, 8).map(({ value, count }) =>
      make("span", { class: "pairing" }, make("span", { class: "value" }, plain(value)), " ", make("small", {}, number.format(count))));
    return make("p", {}, make("small", {}, `${plain(field.field)}: `), ...values);
  }));
}

// -- The most novel observations --------------------------------------------------------------------------------------

let newest = null; // what was seen before, to tell a reader what is new

async function renewNovel() {
  const least = by("filter-least");
  if (!least.checkValidity()) return;
  const context = by("filter-context").value;
  const byScore = by("filter-order").value === "score";
  const query = new URLSearchParams({ least: least.value, most: byScore ? LOOKED_AT : ROWS, ...(context && { context }) });
  let found = (await get(`novelty/recent?${query}`)).observations.map(({ result, ...about }) => ({ ...result, ...about }));
  if (byScore) found = found.sort((one, other) => other.score - one.score).slice(0, ROWS);
  show(by("novel"), found, novelKey, novelRow);
  by("novel-empty").hidden = found.length > 0;
  by("novel-empty").textContent = `No recent observation${context ? ` of ${plain(context)}` : ""} scores ${least.value} or more; those from 0.9 on are kept.`;
  announce(found, `${least.value} ${context}`);
}

const novelKey = (result) => `${result.at} ${result.sequence} ${result.context}`;

function announce(found, question) {
  const keys = new Set(found.map(novelKey));
  const fresh = newest?.question === question ? found.filter((each) => !newest.keys.has(novelKey(each))) : [];
  newest = { question, keys };
  if (fresh.length) by("news").textContent = `${fresh.length} new: ${plain(fresh[0].context)} scores ${scoreText(fresh[0].score)}`;
}

function novelRow(result) {
  const { index } = result.mostNovelComponent;
  const name = `Score ${scoreText(result.score)}, explain`;
  const cells = (button) => [
    make("td", { class: "score" }, button),
    make("td", {}, plain(result.context), make("span", { class: "under" }, when(result.at), result.warm ? "" : " warming up")),
    make("td", {}, stack(result.components), make("ol", { class: "parts" }, ...result.components.map((part, i) => partItem(result, part, i, i === index)))),
  ];
  const why = facts({
    "whole observation": scoreText(result.totalObsScore),
    probability: result.probability.toPrecision(3),
    "information, bits": result.infoContent.toFixed(2),
    uniqueness: result.uniqueness.toFixed(3),
    confidence: result.confidence?.toFixed(2),
    sequence: number.format(result.sequence),
    "bits, by component": result.components.map((part) => part.bits.toFixed(2)).join(" + "),
  });
  return withWhy(`novel ${novelKey(result)}`, scoreText(result.score), name, cells, why);
}

function partItem(result, part, i, most) {
  const value = result.observation[i];
  const field = details.get(result.context)?.fields?.[i];
  return make("li", { class: most ? "most" : null },
    draw("svg", { "aria-hidden": "true", viewBox: "0 0 8 8" }, draw("rect", { width: 8, height: 8, rx: 2, class: `c${i % 6}` })),
    ...(field === undefined ? [] : [make("small", {}, plain(field))]),
    make("span", { class: "value", title: plain(value) }, plain(value)),
    make("span", { class: "share" }, shareText(part.share)));
}

function stack(components) {
  let from = 0;
  const parts = components.map(({ share }, i) => {
    const part = draw("rect", { x: `${from * 100}%`, width: `${Math.max(0, share * 100 - 0.3)}%`, height: "100%", class: `c${i % 6}` });
    from += share;
    return part;
  });
  return draw("svg", { class: "stack", "aria-hidden": "true" }, ...parts);
}

// -- Findings and jobs ------------------------------------------------------------------------------------------------

async function renewFindings() {
  const findings = (await get("findings?limit=20")).findings;
  by("findings-empty").hidden = findings.length > 0;
  show(by("findings"), findings, (each) => each.id, (finding) => {
    const cells = (button) => [
      make("td", {}, sign(finding.severity)),
      make("td", {}, button, make("span", { class: "under" }, `${plain(finding.entity)} · ${finding.detector}`)),
      make("td", {}, when(finding.end)),
    ];
    return withWhy(`finding ${finding.id}`, plain(finding.title), null, cells, reasons(finding));
  });
}

function reasons(finding) {
  const rows = finding.reasons.map((reason) => make("tr", {},
    make("th", { scope: "row" }, plain(reason.field)),
    make("td", {}, plain(reason.seen)),
    make("td", {}, plain(reason.expected)),
    make("td", { class: "number" }, reason.share === null ? "" : shareText(reason.share))));
  const head = make("tr", {}, ...["Field", "Seen", "Usually"].map((name) => make("th", { scope: "col" }, name)), make("th", { scope: "col", class: "number" }, "Share"));
  const seen = finding.count > 1 ? `${number.format(finding.count)} times` : undefined;
  const about = facts({ score: (Math.floor(finding.score * 100) / 100).toFixed(2), state: finding.state, seen, records: number.format(finding.record_count), from: when(finding.start), to: when(finding.end) });
  return make("div", {}, rows.length ? make("table", { class: "reasons" }, make("thead", {}, head), make("tbody", {}, ...rows)) : "", about);
}

async function renewJobs() {
  const jobs = (await get("jobs?limit=12")).jobs;
  by("jobs-empty").hidden = jobs.length > 0;
  show(by("jobs"), jobs, (job) => String(job.id), (job) => [
    make("tr", {},
      make("td", {}, sign(job.outcome)),
      make("td", {}, plain(job.name), make("span", { class: "under" }, [job.piece, job.note].filter(Boolean).map(plain).join(" · "))),
      make("td", {}, when(job.started), make("span", { class: "under" }, took(job)))),
  ]);
}

const sign = (word) => make("span", { class: `sign ${word}` }, word);

function took(job) {
  const seconds = (Date.parse(job.finished) - Date.parse(job.started)) / 1000;
  return Number.isNaN(seconds) ? "" : seconds < 90 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`;
}

// -- Asking the service -----------------------------------------------------------------------------------------------

const SILENT = 0; // the status when there is no answer

class Refused extends Error {
  constructor(status, problem) {
    super([problem.detail ?? problem.title ?? `HTTP ${status}`, problem.remedy].filter(Boolean).join("; "));
    this.status = status;
  }
}

async function get(path) {
  const key = sessionStorage.getItem(KEY);
  const headers = { Accept: "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
  const options = { headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) };
  const response = await fetch(`api/v1/${path}`, options).catch((error) => { throw new Refused(SILENT, { detail: error.message }); });
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
  return response.json().catch((error) => { throw new Refused(SILENT, { detail: error.message }); });
}

// -- The round --------------------------------------------------------------------------------------------------------

const PARTS = [
  { name: "contexts", every: 1, renew: renewContexts },
  { name: "novel", every: 1, renew: renewNovel },
  { name: "findings", every: SLOWER, renew: renewFindings },
  { name: "jobs", every: SLOWER, renew: renewJobs },
];

let round = 0;
let failures = 0;
let timer = 0;
let busy = false;
let again = false; // somebody asked for a round while one was going on
let paused = false;
let summary = "";

async function go() {
  clearTimeout(timer);
  again = busy;
  if (busy || document.hidden || by("key").open) return;
  busy = true;
  const due = PARTS.filter((part) => round % part.every === 0);
  const outcomes = await Promise.allSettled(due.map((part) => part.renew()));
  busy = false;
  const locked = judge(due, outcomes.map((outcome) => outcome.reason));
  if (again) go();
  else if (!paused && !locked) timer = setTimeout(go, Math.min(POLL_MS * 2 ** failures, WAIT_AT_MOST_MS));
}

/** Tell what went wrong in a round, each part in its place; return whether the service asks for a key. */
function judge(due, errors) {
  const silent = errors.some((error) => error?.status === SILENT);
  const locked = errors.some((error) => error?.status === 401);
  due.forEach((part, i) => tell(`${part.name}-trouble`, locked || errors[i]?.status === SILENT ? "" : said(errors[i])));
  failures = silent ? failures + 1 : 0;
  round = silent || locked ? 0 : round + 1;
  const key = sessionStorage.getItem(KEY);
  if (locked) askForKey(key ? "This key was not accepted." : "");
  banner(locked ? "This service asks for an API key." : silent ? "tocsin does not answer; what is shown is as it was. Trying again by itself." : "");
  by("retry").textContent = locked ? "Enter key" : "Try now";
  by("forget-key").hidden = !key;
  const asOf = silent || locked ? "" : `as of ${new Date().toISOString().slice(11, 19)}`;
  by("state").textContent = [paused && "Paused", summary, asOf].filter(Boolean).join(" · ");
  return locked;
}

function said(error) {
  if (error && !(error instanceof Refused)) console.error(error); // a fault of this page
  return error?.message ?? "";
}

function tell(id, text) {
  by(id).textContent = text;
  by(id).hidden = text === "";
}

function banner(text) {
  if (by("banner-text").textContent !== text) by("banner-text").textContent = text;
  by("banner").hidden = text === "";
}

function restart() {
  round = 0;
  failures = 0;
  go();
}

// -- What a person does -----------------------------------------------------------------------------------------------

function offer(names) {
  const select = by("filter-context");
  if (names.join("\n") === [...select.options].slice(1).map((each) => each.value).join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => make("option", { value: name }, plain(name))));
  select.value = names.includes(chosen) ? chosen : "";
}

function filterBy(name) {
  by("filter-context").value = name;
  go();
}

function askForKey(trouble) {
  if (by("key").open) return;
  tell("key-trouble", trouble);
  by("key").returnValue = by("key-value").value = "";
  by("key").showModal();
}

function pause() {
  paused = !paused;
  by("pause").setAttribute("aria-pressed", String(paused));
  by("pause").textContent = paused ? "Resume" : "Pause";
  if (paused) clearTimeout(timer);
  else go();
}

async function copyFirst() {
  const text = by("first-curl").textContent;
  // Off loopback and without TLS a browser has no clipboard: the text is selected instead.
  await navigator.clipboard?.writeText(text).then(() => { by("news").textContent = by("first-copy").textContent = "Copied"; }, () => {});
  getSelection().selectAllChildren(by("first-curl"));
}

by("first-curl").textContent = `curl ${new URL("api/v1/novelty/first/observe", document.baseURI)} \\\n  -H 'Content-Type: application/json' -d '["tcp", "443", "ssl"]'`;
by("first-copy").addEventListener("click", copyFirst);
by("pause").addEventListener("click", pause);
by("retry").addEventListener("click", restart);
by("filter").addEventListener("submit", (event) => event.preventDefault());
by("filter").addEventListener("input", go);
by("key-cancel").addEventListener("click", () => by("key").close());
by("key").addEventListener("close", () => {
  if (by("key").returnValue !== "use") return;
  sessionStorage.setItem(KEY, by("key-value").value.trim());
  restart();
});
by("forget-key").addEventListener("click", () => { sessionStorage.removeItem(KEY); restart(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) restart(); });
go();
