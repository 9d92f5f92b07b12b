# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The bench's page with plots, and the comparison of two of its results."""

import json
import re
import signal
from html.parser import HTMLParser

import pytest
from conftest import Process, run, wait_until

VOID = {"meta", "link", "br", "img", "input", "hr", "base", "source", "embed"}
LOADS = {"script", "link", "img", "iframe", "object", "embed", "audio", "video", "source", "base", "image", "use",
         "form"}


class Page(HTMLParser):
    """Every element must be closed in its order; figures are taken with the JSON pointer that they name."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.attributes, self.figures, self.words = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], "not closed"

    def handle_starttag(self, tag, attrs):
        self.start(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.start(tag, attrs)

    def start(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), attrs
        self.seen.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "data":
            found = dict(attrs)
            self.figures.append((found["data-json"], found["value"]))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def assert_self_contained(self, source):
        assert not LOADS & set(self.seen)
        assert not [name for _, name, _ in self.attributes if name in ("src", "href", "srcset", "action", "xlink:href")]
        assert not [name for _, name, _ in self.attributes if name.startswith("on")]
        assert not re.search(r"url\(|@import", source)
        policy = [value for tag, name, value in self.attributes if tag == "meta" and name == "content"]
        assert any(value.startswith("default-src 'none'") for value in policy)


def at(pointer, value):
    for key in pointer.split("/")[1:]:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def bench(tmp_path, *arguments, name="report", check=0):
    result, page = tmp_path / f"{name}.json", tmp_path / f"{name}.html"
    run("bench", "--warm-up-seconds", 0, "--connections", 4, "--groups", 64, *arguments, "--json", result, "--html",
        page, timeout=300, check=check)
    source = page.read_text(encoding="utf-8")
    page = Page(source)
    page.assert_self_contained(source)
    return json.loads(result.read_text()), page


@pytest.mark.parametrize("mode", [["--mode", "send", "--seconds", 2], ["--mode", "both", "--seconds", 2],
                                  ["--mode", "drain", "--messages", 100_000]])
def test_a_page_loads_nothing_and_has_the_figures_of_the_json(mode, tmp_path):
    result, page = bench(tmp_path, *mode, "--threshold", "p99<60s")
    assert page.figures
    for pointer, value in page.figures:
        found = at(pointer, result)
        if isinstance(found, bool) or isinstance(found, str):
            assert value == (str(found).lower() if isinstance(found, bool) else found), pointer
        else:
            assert float(value) == found, pointer
    pointers = {pointer for pointer, _ in page.figures}
    index = next(n for n, phase in enumerate(result["phases"]) if phase["name"] == mode[1])
    action = "delete" if mode[1] == "drain" else "send"
    assert {f"/phases/{index}/{action}/messagesPerSecond", f"/phases/{index}/{action}/latencyMicroseconds/p99.9",
            "/checks/acknowledged", "/checks/lost", "/machine/processor", "/parameters/groups", "/imbalance",
            f"/phases/{index}/neverSent", "/thresholds/0/value"} <= pointers
    for title in ("Machine", "Parameters", "Throughput", "Latency by percentile", "Balance of the shards",
                  "Thresholds", "90 %"):
        assert title in page.text, title
    assert page.text.index("Check holds") < page.text.index("Machine"), "the check comes first"
    for shard in result["shards"]:
        assert f"{shard['name'][-25:]} {shard['messages']:,}" in page.text


@pytest.mark.parametrize("mode", ["send", "both", "drain"])
def test_a_result_has_its_window_in_intervals_and_its_distributions(mode, tmp_path):
    result, _ = bench(tmp_path, "--mode", mode, *(["--messages", 5_000] if mode == "drain" else ["--seconds", 2]))
    phase = next(phase for phase in result["phases"] if phase["name"] == mode)
    rows = phase["intervals"]
    for field, action in (("sent", "send"), ("received", "receive"), ("deleted", "delete")):
        assert sum(row[field] for row in rows) == phase[action]["messages"]
    assert sum(row["seconds"] for row in rows) == pytest.approx(phase["seconds"], abs=0.01)
    assert [row["from"] for row in rows] == sorted(row["from"] for row in rows)
    assert rows[-1]["backlog"] == phase["backlog"]
    action = phase["receive" if mode == "drain" else "send"]
    points = {point["percentile"]: point["microseconds"] for point in action["latencyDistribution"]}
    latency = action["latencyMicroseconds"]
    assert [points[p] for p in (50, 90, 99, 99.9, 100)] == [latency[p] for p in ("p50", "p90", "p99", "p99.9", "max")]
    assert {0, 75, 99.99} <= points.keys()
    assert list(points.values()) == sorted(points.values())


def test_an_interrupted_run_has_its_page_and_says_so_first(tmp_path):
    page = tmp_path / "report.html"
    process = Process(["bench", "--seconds", 600, "--warm-up-seconds", 0, "--connections", 4, "--interval", "0.1",
                       "--html", page], tmp_path / "bench.log")
    wait_until(lambda: process.text().count("\n ") > 3, what="some rows")
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(40) == 130, process.text()
    found = Page(page.read_text(encoding="utf-8"))
    assert "Interrupted" in found.text and "losses are not known" in found.text
    assert found.text.index("Interrupted") < found.text.index("Machine")


def test_what_was_never_sent_and_thresholds_that_were_missed_are_told(tmp_path):
    result, page = bench(tmp_path, "--seconds", 1, "--rate", 1_000_000, "--no-verify", "--threshold", "p99<1ms",
                         check=3)
    assert "never sent" in page.text and "MISSED" in page.text and "≥" in page.text
    assert dict(page.figures)["/phases/0/neverSent"] == str(result["phases"][0]["neverSent"])
    assert page.text.index("Thresholds missed: p99<1ms") < page.text.index("Machine")


def test_a_page_needs_a_file_that_can_be_written(tmp_path):
    assert "--html" in run("bench", "--html", "-", check=64).stderr
    done = run("bench", "--messages", 10, "--warm-up-seconds", 0, "--html", tmp_path / "no" / "x.html", check=74)
    assert "cannot be written" in done.stderr and "messages/s" in done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two results of one program, and where they are."""
    directory = tmp_path_factory.mktemp("results")
    for name in ("a", "b"):
        run("bench", "--warm-up-seconds", 0, "--connections", 4, "--groups", 64, "--seconds", 1, "--json",
            directory / f"{name}.json", check=0)
    return directory / "a.json", directory / "b.json"


def changed(path, target, change):
    result = json.loads(path.read_text())
    change(result)
    target.write_text(json.dumps(result))
    return target


def slower(result, share=0.5):
    """The same run at a share of its throughput."""
    phase = result["phases"][0]
    phase["send"]["messagesPerSecond"] *= share
    for row in phase["intervals"]:
        row["sent"] = int(row["sent"] * share)


def line_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(name + " "))


def test_two_results_are_compared(results, tmp_path):
    page = tmp_path / "compared.html"
    done = run("bench", "compare", *results, "--html", page, check=0)
    first, second = (json.loads(path.read_text()) for path in results)
    rates = [result["phases"][0]["send"]["messagesPerSecond"] for result in (first, second)]
    cells = line_of(done.stdout, "sent messages/s").split()
    assert [int(cell.replace(",", "")) for cell in cells[2:4]] == [round(rate) for rate in rates]
    assert float(cells[4]) == pytest.approx(rates[1] / rates[0], abs=0.001)
    assert "Parameters and machine are alike" in done.stdout and done.stdout.count("Check holds") == 2
    source = page.read_text(encoding="utf-8")
    found = Page(source)
    found.assert_self_contained(source)
    assert cells[4] in found.text and found.text.index("Check holds") < found.text.index("Figures")


def test_a_difference_is_set_against_the_spread_of_the_intervals(results, tmp_path):
    same = run("bench", "compare", results[0], results[0], "--fail-below", 1, check=0)
    assert line_of(same.stdout, "sent messages/s").endswith("within the spread")
    assert " 1.000 " in line_of(same.stdout, "sent messages/s")
    other = changed(results[0], tmp_path / "slower.json", lambda result: slower(result, 0.1))
    done = run("bench", "compare", results[0], other, check=0)
    assert line_of(done.stdout, "sent messages/s").endswith("beyond the spread")
    old = changed(results[0], tmp_path / "old.json", lambda result: result["phases"][0].pop("intervals"))
    done = run("bench", "compare", results[0], old, check=0)
    assert line_of(done.stdout, "sent messages/s").endswith("spread not known")


def test_what_only_one_run_did_is_not_compared(results, tmp_path):
    def change(result):
        """A run that received as well."""
        phase = result["phases"][0]
        phase["receive"] = phase["send"]

    other = changed(results[0], tmp_path / "both.json", change)
    done = run("bench", "compare", results[0], other, check=0)
    assert line_of(done.stdout, "sent messages/s")
    assert not [line for line in done.stdout.splitlines() if line.startswith("receive")]


def test_a_ratio_below_a_limit_has_an_exit_code(results, tmp_path):
    other = changed(results[0], tmp_path / "slower.json", slower)
    assert "sent messages/s" in run("bench", "compare", results[0], other, "--fail-below", 0.95, check=3).stderr
    run("bench", "compare", other, results[0], "--fail-below", 0.95, check=0)
    run("bench", "compare", results[0], other, "--fail-below", 0.4, check=0)
    assert "fail-below" in run("bench", "compare", *results, "--fail-below", 0, check=64).stderr


def test_unlike_parameters_are_named(results, tmp_path):
    def change(result):
        result["parameters"].update(groups=1000, api="sqs", bodyBytes=64, connections=5)
        result["checks"].update(holds=False, lost=2)

    other = changed(results[0], tmp_path / "other.json", change)
    done = run("bench", "compare", results[0], other, check=0)
    unfair = next(line for line in done.stdout.splitlines() if line.startswith("NOT a fair comparison"))
    for words in ("groups 64 against 1,000", "api rest against sqs", "body bytes 1,024 against 64",
                  "connections 4 against 5"):
        assert words in unfair
    assert "seconds" not in unfair
    assert "Check BROKEN: 2 lost" in done.stdout


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"no JSON", b'{"kind": "scale"}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_result_is_refused(content, results, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_bytes(content)
    for pair in ((wrong, results[0]), (results[0], wrong)):
        done = run("bench", "compare", *pair, check=66)
        assert "wrong.json" in done.stderr and "no result" in done.stderr and done.stdout == ""
    assert "cannot be read" in run("bench", "compare", tmp_path / "missing.json", results[0], check=66).stderr


def test_what_a_file_says_is_text_on_the_page_and_the_terminal(results, tmp_path):
    def change(result):
        result["version"] = "<script>alert(1)</script>"
        result["machine"]["processor"] = 'x"><img src=x onerror=alert(2)>\x1b[31m'
        result["parameters"]["<b>"] = "</td><iframe>"

    other = changed(results[0], tmp_path / "<i>other.json", change)
    done = run("bench", "compare", other, results[0], "--html", tmp_path / "page.html", check=0)
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(source)
    page.assert_self_contained(source)
    assert "i" not in page.seen and "b" not in page.seen and "<script>alert(1)</script>" in page.text
    assert "\x1b" not in done.stdout and "\x1b" not in source
