"""The page at `/` in a real Chromium, before the real service."""

import json
import os
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tocsin.app import App
from tocsin.app_serve import serving
from tocsin.records.finding import Candidate, Reason
from tocsin.settings import Settings

PATIENCE_S = 30
HOSTILE = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
LONG = "x" * 300
USUAL = ["tcp", "443", "ssl"]
NOVEL = ["tcp", "443", "none"]

pytestmark = pytest.mark.service


class Site:
    """A service on a port of loopback, and what it is built from."""

    def __init__(self, app: App, url: str) -> None:
        self.app = app
        self.url = url

    def post(self, path: str, body: object, key: str = "") -> Any:
        """Send a document to the API and return the answer."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def learn(self, context: str, observation: list[str], times: int = 3000) -> None:
        """Observe the same so often that the context is warm."""
        self.post(f"novelty/{context}/observe/bulk", [observation] * times)


@contextmanager
def site(folder: Path, **serve: Any) -> Iterator[Site]:
    """Serve what lies in a folder."""
    app = App(Settings(store=str(folder), serve={"port": 0} | serve))
    try:
        with serving(app, app.settings.serve, threading.Event()) as running:
            made = Site(app, running.url)
            _until_ready(made.url)
            yield made
    finally:
        app.close()


def _until_ready(url: str) -> None:
    nap = threading.Event()
    for _ in range(PATIENCE_S * 20):
        try:
            urllib.request.urlopen(f"{url}/api/v1/admin/readiness", timeout=PATIENCE_S).close()
            return
        except OSError:
            nap.wait(0.05)
    pytest.fail("the service is not ready")


class Browser(Chrome):
    """A Chromium that reaches loopback alone, with what tests ask of a page."""

    def until(self, happened: Callable[[], object]) -> Any:
        """Wait until something is true, and return it."""
        try:
            return WebDriverWait(self, PATIENCE_S, 0.05).until(lambda _: happened())
        except TimeoutException:
            pytest.fail(f"it did not happen; the page:\n{self.text('body')}\nits console: {self.complaints()}")

    def text(self, selector: str) -> str:
        """Return the text, as shown, of the first element that a selector names; '' when there is none to be seen."""
        script = "const it = document.querySelector(arguments[0]); return it?.checkVisibility() ? it.innerText : ''"
        return str(self.execute_script(script, selector))

    def click(self, selector: str) -> None:
        self.find_element(By.CSS_SELECTOR, selector).click()

    def open_all(self) -> None:
        """Open every row that says more when asked."""
        self.execute_script("for (const each of document.querySelectorAll('[aria-expanded=false]')) each.click()")

    def complaints(self) -> list[str]:
        """Return what the page wrote to the console since this was asked last."""
        return [entry["message"] for entry in self.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that were fetched since this was asked last."""
        messages = [json.loads(entry["message"])["message"] for entry in self.get_log("performance")]
        return [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]

    def look(self, width: int, scheme: str = "light") -> None:
        """Be a screen of so many pixels, light or dark, on which nothing moves."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        missing = "no Chromium: install Debian's packages chromium and chromium-driver"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    options = ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = Browser(options=options, service=ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser with a clean desk."""
    chromium.look(1280)
    chromium.complaints()
    chromium.requests()
    yield chromium
    chromium.execute_script("sessionStorage.clear()")
    chromium.get("about:blank")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that has seen something of everything, hostile texts among it."""
    with site(tmp_path_factory.mktemp("page")) as made:
        made.learn("web", USUAL)
        made.learn("hostile", ["usual", "usual"])
        made.post("novelty/hostile/observe", [HOSTILE, LONG])
        now = made.app.clock.now()
        reasons = [Reason("resp_bytes", HOSTILE, "at most 4 MB", 0.8), Reason("peers", "1", "12 to 40", 0.2)]
        found = [
            Candidate("hosts", "beacon", "10.0.0.1", now, now, 9.0, 99.97, "it beacons", reasons),
            Candidate("hosts", "exfiltration", HOSTILE, now, now, 9.0, 99.95, HOSTILE, reasons),
        ]
        made.app.verdict.judge(found)
        for piece, outcome in (("2025-01-07", "ok"), (HOSTILE, "failed")):
            job = made.app.ledger.start_job("train", domain=made.app.domain, piece=piece, owner="me")
            made.app.ledger.finish_job(job, outcome, note=HOSTILE if outcome == "failed" else "")
        yield made


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


def test_it_shows_everything_and_fetches_from_nowhere_else(browser: Browser, served: Site) -> None:
    browser.get(served.url)
    browser.until(lambda: "3,000" in browser.text("#contexts") and browser.text("#jobs tbody"))
    browser.until(lambda: browser.find_elements(By.CSS_SELECTOR, "#contexts svg rect"))
    assert "it beacons" in browser.text("#findings")
    assert "high" in browser.text("#findings")
    assert "2025-01-07" in browser.text("#jobs")
    assert "failed" in browser.text("#jobs")
    assert browser.text("#novel tbody")
    assert browser.complaints() == []
    fetched = browser.requests()
    assert fetched
    assert [url for url in fetched if not url.startswith(f"{served.url}/")] == []


def test_the_documentation_it_links_to_needs_no_other_host_either(browser: Browser, served: Site) -> None:
    browser.get(served.url)
    browser.click("nav a")
    browser.until(lambda: "/api/v1/novelty/{context}/observe" in browser.text("body").replace("\u200b", ""))
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith((f"{served.url}/", "data:"))] == []


def test_what_is_observed_appears_by_itself_with_each_share(browser: Browser, served: Site) -> None:
    browser.get(served.url)
    browser.until(lambda: "web" in browser.text("#contexts"))
    served.post("novelty/web/observe", NOVEL)
    row = browser.until(lambda: next((each for each in _novel_rows(browser) if "none" in each["values"]), None))
    assert row["values"] == NOVEL
    assert row["most"] == "none"
    assert len(row["shares"]) == 3
    assert max(row["widths"]) == row["widths"][2] > 50
    assert "1 new: web scores" in browser.find_element(By.ID, "news").get_property("textContent")


def _novel_rows(browser: Browser) -> list[dict[str, Any]]:
    script = """return [...document.querySelectorAll("#novel tbody")].map((row) => ({
      values: [...row.querySelectorAll(".parts .value")].map((each) => each.textContent),
      shares: [...row.querySelectorAll(".share")].map((each) => each.textContent),
      most: row.querySelector(".most .value").textContent,
      widths: [...row.querySelectorAll(".stack rect")].map((each) => parseFloat(each.getAttribute("width"))),
    }))"""
    found: list[dict[str, Any]] = browser.execute_script(script)
    return found


def test_texts_of_an_attacker_stay_texts(browser: Browser, served: Site) -> None:
    # The API refuses such a name of a context; were there one all the same, it would be shown as text too.
    hostile_name = """const ask = window.fetch;
    window.fetch = async (...about) => {
      const answer = await ask(...about);
      if (!String(about[0]).endsWith("api/v1/novelty")) return answer;
      const whole = await answer.json();
      whole.contexts.push({ ...whole.contexts[0], name: %s });
      return new Response(JSON.stringify(whole));
    };""" % json.dumps(HOSTILE)  # noqa: UP031 - braces abound
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hostile_name})
    try:
        browser.get(served.url)
        browser.until(lambda: HOSTILE in browser.text("#novel") and HOSTILE in browser.text("#contexts"))
        browser.until(lambda: HOSTILE in browser.text("#findings") and HOSTILE in browser.text("#jobs"))
        browser.open_all()
        assert "at most 4 MB" in browser.text("#findings")
        assert browser.title == "tocsin"
        assert browser.find_elements(By.CSS_SELECTOR, "img, script:not([src])") == []
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_markup_could_not_even_be_made_by_a_fault_of_ours(browser: Browser, served: Site) -> None:
    browser.get(served.url)
    make = "try { document.body.innerHTML = '<b>x</b>'; return 'made' } catch (error) { return error.name }"
    assert browser.execute_script(make) == "TypeError"


def test_a_finding_and_an_observation_open_by_keyboard_and_stay_open(browser: Browser, served: Site) -> None:
    browser.get(served.url)
    browser.until(lambda: browser.text("#findings tbody") and browser.text("#novel tbody"))
    for table in ("findings", "novel"):
        button = browser.find_element(By.CSS_SELECTOR, f"#{table} button")
        button.send_keys(Keys.ENTER)
        assert button.get_attribute("aria-expanded") == "true"
    assert "at most 4 MB" in browser.text("#findings")
    assert "80 %" in browser.text("#findings")
    assert "bits, by component" in browser.text("#novel")
    rounds = browser.text("#state")
    browser.until(lambda: browser.text("#state") != rounds)
    assert "bits, by component" in browser.text("#novel")


def test_it_filters_by_context_and_score(browser: Browser, served: Site) -> None:
    served.post("novelty/web/observe", ["udp", "53", "dns"])
    browser.get(served.url)
    browser.until(lambda: "udp" in browser.text("#novel") and HOSTILE in browser.text("#novel"))
    button = browser.find_element(By.XPATH, "//table[@id='contexts']//button[text()='web']")
    button.click()
    browser.until(lambda: HOSTILE not in browser.text("#novel"))
    assert "udp" in browser.text("#novel")
    browser.until(lambda: "ssl" in browser.text("#values"))
    least = browser.find_element(By.ID, "filter-least")
    least.clear()
    least.send_keys("1")
    browser.until(lambda: "No recent observation of web scores 1 or more" in browser.text("#novel-empty"))


def test_an_empty_service_says_how_to_begin(browser: Browser, empty: Site) -> None:
    browser.get(empty.url)
    curl = browser.until(lambda: browser.text("#first-curl"))
    assert f"{empty.url}/api/v1/novelty/first/observe" in curl
    browser.click("#first-copy")
    browser.until(lambda: browser.execute_script("return getSelection().toString()").startswith("curl http"))
    empty.post("novelty/first/observe", USUAL)
    browser.until(lambda: "first" in browser.text("#contexts"))
    assert browser.text("#first") == ""
    assert browser.complaints() == []


def test_it_asks_for_a_key_and_forgets_it(browser: Browser, tmp_path: Path) -> None:
    with site(tmp_path, auth="keys") as locked:
        _, writer = locked.app.ledger.keys.create("writer", "score")
        _, reader = locked.app.ledger.keys.create("reader", "read")
        locked.post("novelty/web/observe", USUAL, key=writer)
        browser.get(locked.url)
        for key, said in (("wrong", "was not accepted"), (reader, "")):
            browser.until(lambda: browser.execute_script("return document.querySelector('#key').open"))
            browser.find_element(By.ID, "key-value").send_keys(key, Keys.ENTER)
            browser.until(lambda said=said: said in browser.text("#key-trouble"))
        browser.until(lambda: "web" in browser.text("#contexts"))
        assert browser.execute_script("return [localStorage.length, document.cookie]") == [0, ""]
        browser.click("#forget-key")
        browser.until(lambda: browser.execute_script("return document.querySelector('#key').open"))
        assert browser.execute_script("return sessionStorage.length") == 0


def test_it_says_that_the_service_is_gone_and_goes_on_when_it_is_back(browser: Browser, tmp_path: Path) -> None:
    with site(tmp_path) as first:
        first.post("novelty/web/observe", USUAL)
        browser.get(first.url)
        browser.until(lambda: "web" in browser.text("#contexts"))
    browser.until(lambda: "does not answer" in browser.text("#banner"))
    assert "web" in browser.text("#contexts")
    with site(tmp_path, port=int(first.url.rpartition(":")[2])):
        browser.click("#retry")
        browser.until(lambda: browser.text("#banner") == "")


def test_a_hidden_or_paused_page_asks_nothing(browser: Browser, served: Site) -> None:
    browser.get(served.url)
    browser.until(lambda: browser.text("#jobs tbody"))
    browser.click("#pause")
    assert _asked_within(browser, 3) == []
    browser.click("#pause")
    browser.until(lambda: _asked_within(browser, 0.5))
    browser.minimize_window()
    try:
        assert browser.execute_script("return document.hidden") is True
        assert _asked_within(browser, 3) == []
    finally:
        browser.set_window_rect(0, 0, 1280, 900)
    browser.until(lambda: _asked_within(browser, 0.5))


def _asked_within(browser: Browser, seconds: float) -> list[str]:
    """Return what is fetched in a while, once what is under way has ended."""
    nap = threading.Event()
    nap.wait(0.5)
    browser.requests()
    nap.wait(seconds)
    return browser.requests()


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(browser: Browser, served: Site, width: int, scheme: str) -> None:
    browser.look(width, scheme)
    browser.get(served.url)
    browser.until(lambda: browser.text("#jobs tbody") and browser.text("#novel tbody"))
    browser.open_all()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    inside = "return [...document.querySelectorAll('section')].filter((e) => e.scrollWidth > e.clientWidth).length"
    assert browser.execute_script(inside) == 0
    assert browser.execute_script(FAINT) == []


# WCAG 2.2, 1.4.3: text contrasts with what is behind it by 4.5 to 1.
FAINT = """
const parse = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => {
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = parse(color).map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  const color = getComputedStyle(element).backgroundColor;
  return parse(color)[3] === 0 && element.parentElement ? behind(element.parentElement) : color;
};
const texts = [...document.querySelectorAll("body *")].filter((element) =>
  element.getClientRects().length && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
return texts.filter((element) => {
  const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < 4.5;
}).map((element) => element.outerHTML.slice(0, 200));
"""
