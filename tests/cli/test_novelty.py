"""`tocsin novelty`, as a person or a program calls it: any files, the lake, standard input; contexts that stay."""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tocsin.cli import cli
from tocsin.cli.novelty_options import split_fields
from tocsin.errors import SettingsError
from tocsin.testing.logs import zeek_log

FIELDS = ("--fields", "user,host,action")


def logins(count=2000, seed=3):
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        user = rng.choice("abc")
        rows.append({"user": user, "host": f"h{user}", "action": rng.choices(["in", "out", "fail"], [80, 19, 1])[0]})
    rows.append({"user": "a", "host": "hc", "action": "sudo"})
    return rows


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tocsin.yaml").write_text("store: ./store\nlogging: {level: error}\nserve: {durability: fast}\n")
    table = pa.Table.from_pylist(logins())
    pyarrow.csv.write_csv(table, tmp_path / "t.csv")
    pq.write_table(table, tmp_path / "t.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in logins())
    (tmp_path / "t.ndjson").write_text(lines)
    with gzip.open(tmp_path / "t.ndjson.gz", "wt") as file:
        file.write(lines)
    return tmp_path


def run(*arguments, code=0, given=None):
    done = CliRunner().invoke(cli, ["novelty", *map(str, arguments)], input=given)
    assert done.exit_code == code, done.output
    return done


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_result_a_line_in_order_under_the_products_names():
    rows = lines(run("observe", "t.csv", *FIELDS, "-x", "logins", "--json"))
    assert [tuple(row["observation"]) for row in rows] == [tuple(row.values()) for row in logins()]
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    last = rows[-1]
    assert set(last) == {
        "observation", "score", "totalObsScore", "sequence", "probability", "uniqueness", "infoContent",
        "mostNovelComponent", "components", "warm", "confidence",
    }  # fmt: skip
    assert last["score"] > 0.99
    assert last["mostNovelComponent"]["value"] in ("hc", "sudo")
    assert last["warm"]
    assert not rows[0]["warm"]


@pytest.mark.parametrize("file", ["t.parquet", "t.ndjson", "t.ndjson.gz"])
def test_every_format_gives_the_same(file):
    wanted = run("score", "t.csv", *FIELDS, "--fresh", "--json").stdout
    assert run("score", file, *FIELDS, "--fresh", "--json").stdout == wanted


def test_the_standard_input(place):
    command = [sys.executable, "-m", "tocsin", "novelty", "score", "-", *FIELDS, "--fresh", "--json"]
    wanted = run("score", "t.csv", *FIELDS, "--fresh", "--json").stdout
    for file in ("t.csv", "t.ndjson.gz"):
        with Path(file).open("rb") as standard_input:
            done = subprocess.run(command, stdin=standard_input, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == wanted


def test_scoring_changes_nothing_and_is_the_same_again():
    run("observe", "t.csv", *FIELDS, "-x", "logins")
    first = run("score", "t.csv", "-x", "logins", "--json").stdout
    assert run("score", "t.csv", "-x", "logins", "--json").stdout == first
    (status,) = json.loads(run("list", "--json").stdout)
    assert (status["name"], status["observed"], status["fields"]) == ("logins", 2001, ["user", "host", "action"])


def test_what_is_observed_in_two_calls_is_as_in_one(place):
    first, *rest = Path("t.csv").read_text().splitlines(keepends=True)
    Path("one.csv").write_text(first + "".join(rest[:700]))
    Path("two.csv").write_text(first + "".join(rest[700:]))
    whole = run("observe", "t.csv", *FIELDS, "-x", "whole", "--json").stdout
    parts = run("observe", "one.csv", *FIELDS, "-x", "parts", "--json").stdout
    parts += run("observe", "two.csv", "-x", "parts", "--json").stdout
    assert parts == whole


def test_people_see_the_most_novel_with_shares_and_what_is_usual():
    done = run("observe", "t.csv", *FIELDS, "-x", "logins", "--most", "3")
    assert "the 3 most novel of 2,001 observations" in done.stdout
    assert "█" in done.stdout
    assert "sudo" in done.stdout
    assert "a, ha, in" in done.stdout
    assert "2,001 observations, 0 set aside, 2,001 learned in all" in done.stderr


def test_equal_observations_are_shown_once_and_given_each_to_programs(place):
    rows = logins() + [{"user": "a", "host": "hc", "action": "sudo"}] * 30 + logins(5000, seed=4)
    pyarrow.csv.write_csv(pa.Table.from_pylist(rows), place / "many.csv")
    done = run("score", "many.csv", *FIELDS, "--fresh", "--most", "5")
    shown = [line for line in done.stdout.splitlines() if "0." in line or "1.0000" in line]
    assert "the 5 most novel of 7,032 observations, equal ones once" in done.stdout
    assert len(shown) == 5
    assert len([line for line in shown if "sudo" in line]) == 1
    top = lines(run("score", "many.csv", *FIELDS, "--fresh", "--most", "5", "--json"))
    best = max(lines(run("score", "many.csv", *FIELDS, "--fresh", "--json")), key=lambda row: row["score"])
    assert top[0] == best
    assert f"{best['sequence']:,} " in shown[0]


def test_only_what_scores_enough():
    run("observe", "t.csv", *FIELDS, "-x", "logins")
    every = lines(run("score", "t.csv", "-x", "logins", "--json"))
    some = lines(run("score", "t.csv", "-x", "logins", "--json", "--least", "0.99"))
    assert some == [row for row in every if row["score"] >= 0.99]
    assert 0 < len(some) < len(every)
    most = lines(run("score", "t.csv", "-x", "logins", "--json", "--most", "2"))
    assert [row["score"] for row in most] == sorted((row["score"] for row in every), reverse=True)[:2]


def test_expressions_and_conditions():
    rows = lines(run("score", "t.csv", "--fields", "upper(user),concat(host, ',', action)", "--observe", "1 + 1",
                     "--where", "action <> 'out'", "--fresh", "--json"))  # fmt: skip
    assert len(rows) == sum(row["action"] != "out" for row in logins())
    first = next(row for row in logins() if row["action"] != "out")
    assert rows[0]["observation"] == [first["user"].upper(), f"{first['host']},{first['action']}", "2"]


def test_options_are_the_contexts():
    run("observe", "t.csv", *FIELDS, "-x", "l", "--order", "auto", "--half-life", "30d", "--warm-up", "10",
        "--bins", "host=q4")  # fmt: skip
    options = json.loads(run("show", "l", "--json").stdout)["options"]
    assert (options["order"], options["half_life_s"], options["warm_up"]) == ("auto", 2_592_000, 10)
    assert options["bins"] == {"host": {"quantiles": 4}}
    assert (
        "--order: context 'l' is there already" in run("observe", "t.csv", "-x", "l", "--order", "auto", code=2).stderr
    )
    assert "has learned user,host,action" in run("observe", "t.csv", "-x", "l", "--fields", "user", code=2).stderr


def test_bad_rows_are_set_aside_with_line_and_reason():
    with Path("t.csv").open("a") as file:
        file.write("one,two\n")
    done = run("score", "t.csv", *FIELDS, "--fresh")
    assert "set aside: t.csv:2003: 2 fields where the header names 3" in done.stderr
    assert "2,001 observations, 1 set aside" in done.stderr


def test_a_file_that_cannot_be_used_is_told_and_the_others_are_read():
    done = run("observe", "missing.csv", "t.csv", *FIELDS, "-x", "l", code=3)
    assert "missing.csv" in done.stderr
    assert json.loads(run("list", "--json").stdout)[0]["observed"] == 2001


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["score", "t.csv", *FIELDS], 2, "give either --context NAME"),
        (["score", "t.csv", "-x", "none"], 4, "tocsin novelty observe FILE --context none"),
        (["score", "t.csv", "--fresh"], 2, "--fields: must say"),
        (["score", "t.csv", "--fresh", "--fields", "usr"], 2, "no column 'usr'; did you mean 'user'?"),
        (["score", "t.csv", "--fresh", "--fields", "user,,host"], 2, "empty field"),
        (["score", "t.csv", "--fresh", "--fields", "sum(user)"], 2, "sum(user)"),
        (["score", "t.csv", "--fresh", *FIELDS, "--kind", "x"], 2, "--kind: 'x' is no record kind"),
        (["score", "t.csv", "--fresh", *FIELDS, "--format", "x"], 2, "--format: format 'x'"),
        (["score", "t.csv", "--fresh", *FIELDS, "--since", "1d"], 2, "--since and --until are for the lake"),
        (["score", "t.csv", "-x", "l", "--order", "auto"], 2, "--order: is for a new context"),
        (["observe", "t.csv", *FIELDS], 2, "--context: must say"),
        (["observe", "t.csv", *FIELDS, "-x", "a/b"], 3, "'a/b' is no name of a context"),
        (["observe", "t.csv", *FIELDS, "-x", "l", "--bins", "user=a"], 2, "--bins"),
        (["observe", "t.csv", *FIELDS, "-x", "l", "--bins", "user=3,1"], 2, "--bins user.edges: [3.0, 1.0] must rise"),
        (["observe", "t.csv", *FIELDS, "-x", "l", "--bins", "usr=3"], 2, "--bins usr: there is no such field"),
        (["observe", "t.csv", *FIELDS, "-x", "l", "--window", "5"], 2, "--window: 5 must be 100"),
        (
            ["observe", "t.csv", *FIELDS, "-x", "l", "--window", "500", "--half-life", "1d"],
            2,
            "--half-life and --window: give only one",
        ),
        (["observe", "t.csv", "--fields", "user,user", "-x", "l"], 2, "--fields: 'user' is there twice"),
        (["show", "none"], 4, "there is no context 'none'"),
    ],
)
def test_what_is_wrong_is_told(arguments, code, says):
    assert says in run(*arguments, code=code).stderr
    assert json.loads(run("list", "--json").stdout) == []


def test_a_file_of_another_make_among_many_does_not_stop_the_others(place):
    place.joinpath("odd.csv").write_text(f"{'x' * 100},b\n1,2\n")
    done = run("observe", "odd.csv", "t.csv", *FIELDS, "-x", "l", code=3)
    assert f"odd.csv has no column 'user'; it has {'x' * 40}…, b" in done.stderr
    assert json.loads(run("list", "--json").stdout)[0]["observed"] == 2001


def test_what_is_set_aside_is_told_with_json_too(place):
    place.joinpath("n.csv").write_text("a\n" + "1\nx\n" * 10)
    done = run("score", "n.csv", "--observe", "CAST(a AS INTEGER)", "--fresh", "--json")
    assert "set aside: n.csv: record 2: Conversion Error" in done.stderr
    assert "set aside: 10 in all" in done.stderr
    done = run("score", "n.csv", "--fields", "a", "--where", "a = '7'", "--fresh", "--json")
    assert (done.stdout, done.stderr) == ("", "no observations, 0 set aside\n")


def test_all_or_nothing_is_merged_and_deleted(place):
    run("observe", "t.csv", *FIELDS, "-x", "one")
    run("observe", "t.csv", "--fields", "user", "-x", "two")
    run("observe", "t.csv", "--fields", "host,user,action", "-x", "three")
    assert "two: contexts that differ" in run("merge", "new", "one", "two", code=3).stderr
    assert "'one' cannot be merged with itself" in run("merge", "one", "one", code=3).stderr
    assert "t.csv: " in run("merge", "new", "t.csv", code=3).stderr
    assert "there is no context 'nix'" in run("delete", "one", "nix", code=4).stderr
    assert "there is no context 'nix'" in run("reset", "one", "nix", code=4).stderr
    names = {each["name"]: each["observed"] for each in json.loads(run("list", "--json").stdout)}
    assert names == {"one": 2001, "two": 2001, "three": 2001}
    said = run("merge", "one", "three").stderr
    assert "other names: host, user, action in three, user, host, action in one; they were taken" in said


def test_import_from_the_standard_input(place):
    run("observe", "t.csv", *FIELDS, "-x", "one")
    run("import", "two", "-", given=run("export", "one", "-").stdout_bytes)
    assert run("score", "t.csv", "-x", "two", "--json").stdout == run("score", "t.csv", "-x", "one", "--json").stdout
    assert "t.csv: this cannot be imported" in run("import", "three", "t.csv", code=3).stderr


def test_export_import_and_merge(place):
    run("observe", "t.csv", *FIELDS, "-x", "one")
    scores = run("score", "t.csv", "-x", "one", "--json").stdout
    run("export", "one", "one.novelty")
    run("import", "two", "one.novelty")
    assert run("score", "t.csv", "-x", "two", "--json").stdout == scores
    assert "there is a context 'two' already" in run("import", "two", "one.novelty", code=4).stderr
    run("import", "two", "one.novelty", "--replace")
    assert "all has 4,002 observations" in run("merge", "all", "one", "one.novelty").stderr
    assert [each["name"] for each in json.loads(run("list", "--json").stdout)] == ["all", "one", "two"]
    run("delete", "all", "two")
    run("reset", "--all")
    (left,) = json.loads(run("list", "--json").stdout)
    assert (left["name"], left["observed"]) == ("one", 0)
    assert "no context and no file" in run("merge", "one", "nothing", code=3).stderr


def test_forgetting():
    run("observe", "t.csv", *FIELDS, "-x", "l")
    gone = sum(row["user"] == "a" and row["host"] == "ha" for row in logins())
    assert json.loads(run("forget", "l", "user=a", "host=ha", "--json").stdout)["forgotten"] == gone
    assert run("forget", "l", "0=b..z").stdout.startswith(f"{sum(row['user'] > 'a' for row in logins()):,} ")
    assert "no field 'usr'; there: user, host, action" in run("forget", "l", "usr=a", code=2).stderr
    assert "FIELD=VALUE" in run("forget", "l", "user", code=2).stderr
    assert "user: is there twice" in run("forget", "l", "user=a", "user=b", code=2).stderr
    assert "nothing is from" not in run("forget", "l", "user=9..10000").stderr
    assert "nothing is from '20' to '3'" in run("forget", "l", "user=20..3", code=3).stderr
    left = json.loads(run("show", "l", "--json").stdout)
    assert (
        f"2,001 learned ({sum(each['count'] for each in left['top'][0]['values']):,.0f} of them count)"
        in run("show", "l").stdout
    )


def test_feedback_lowers_and_can_be_undone():
    run("observe", "t.csv", *FIELDS, "-x", "l")
    score = lambda: lines(run("score", "t.csv", "-x", "l", "--json"))[-1]["score"]  # noqa: E731
    before = score()
    said = json.loads(run("feedback", "add", "l", "action=sudo", "--note", "ok", "--by", "me", "--json").stdout)
    assert said["pattern"] == [None, None, "sudo"]
    assert score() < before
    (told,) = json.loads(run("feedback", "list", "l", "--json").stdout)
    assert (told["note"], told["by"], told["strength"]) == ("ok", "me", 0.9)
    assert "action=sudo" in run("feedback", "list", "l").stdout
    run("feedback", "undo", "l", said["id"][:6])
    assert score() == before
    assert "no feedback begins so" in run("feedback", "undo", "l", "zzz", code=2).stderr
    assert "single values" in run("feedback", "add", "l", "user=a..b", code=2).stderr


def test_show_tells_values_scores_and_feedback():
    run("observe", "t.csv", *FIELDS, "-x", "l")
    shown = run("show", "l").stdout
    assert "l: 2,001 learned, warm" in shown
    assert "host: h" in shown
    facts = json.loads(run("show", "l", "--json", "--most", "2").stdout)
    assert [len(each["values"]) for each in facts["top"]] == [2, 2, 2]
    assert sum(facts["histogram"]["counts"]) > 0


def test_a_log_of_zeek_has_the_names_of_zeek_and_of_flows(place):
    Path("conn.log").write_text(zeek_log(300))
    rows = lines(run("score", "conn.log", "--fields", "proto,id.resp_p,conn_state", "--fresh", "--json"))
    flows = lines(run("score", "conn.log", "--fields", "proto,dport", "--fresh", "--json"))
    assert len(rows) == len(flows) > 0
    assert [row["observation"][:2] for row in rows] == [row["observation"] for row in flows]
    assert lines(run("score", "conn.log", "--fields", "id.resp_p", "--kind", "zeek.conn", "--fresh", "--json"))
    assert run("score", "conn.log", "--fields", "id.resp_p", "--kind", "zeek.ssh", "--fresh", "--json").stdout == ""


def test_the_lake(place):
    Path("conn.log").write_text(zeek_log(300))
    assert CliRunner().invoke(cli, ["ingest", "conn.log"]).exit_code == 0
    rows = lines(run("observe", "--fields", "proto,dport", "-x", "flows", "--json"))
    assert len(rows) == len(lines(run("score", "conn.log", "-x", "flows", "--json")))
    assert run("observe", "-x", "flows", "--until", "2001-01-01", "--json").stdout == ""


def test_a_folder_that_another_process_has_is_refused(place):
    code = (
        "from pathlib import Path; from tocsin.jobs.contexts import Contexts; import sys; "
        "c = Contexts.open(Path('store/novelty')); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ.copy()
    )
    try:
        assert other.stdout.readline().strip() == b"open"
        assert str(other.pid) in run("observe", "t.csv", *FIELDS, "-x", "l", code=4).stderr
    finally:
        other.communicate(timeout=30)


def test_what_was_printed_is_kept_when_it_is_killed(place):
    command = [sys.executable, "-m", "tocsin", "novelty", "observe", "-", *FIELDS, "-x", "l", "--json"]
    killed = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        killed.stdin.write(Path("t.ndjson").read_bytes())
        killed.stdin.flush()
        for _ in range(2001):
            assert killed.stdout.readline()
    finally:
        killed.kill()
        killed.communicate(timeout=30)
    assert json.loads(run("list", "--json").stdout)[0]["observed"] == 2001


def test_fields_are_separated_by_commas_outside_brackets_and_quotes():
    assert split_fields(["a, b,f(c, 'd)')", '"e,f"'], ["g(1, 2)"]) == ("a", "b", "f(c, 'd)')", '"e,f"', "g(1, 2)")
    with pytest.raises(SettingsError):
        split_fields(["a,"])
