# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The console page as a browser runs it: Chromium, steered by what somebody would click on."""

import shutil

import pytest
import requests
from conftest import run, wait_until
from test_dead_letters import DEAD, LETTERS, POOL, fill, groups, listed, with_bodies

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed; infra/test installs it")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no chromium and chromedriver here; infra/test installs them where apt-get is")

MARKUP = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("browser")
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1400,2000", "no-first-run",
                 "disable-background-networking", "disable-component-update", "disable-sync", "no-proxy-server",
                 "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"user-data-dir={profile}"):
        options.add_argument("--" + flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


class Page:
    """The page, by the names that its reader sees or a screen reader says."""

    def __init__(self, driver, server):
        self.driver = driver
        driver.get_log("browser")
        driver.get(server.url + "/")
        wait_until(lambda: self.text("state") == "live", 30, "figures")

    def one(self, css):
        return self.driver.find_element("css selector", css)

    def all(self, css):
        return self.driver.find_elements("css selector", css)

    def text(self, id):
        # In one step of the page, which replaces what it shows.
        return self.driver.execute_script("return document.getElementById(arguments[0]).innerText", id)

    def click(self, css):
        wait_until(lambda: self.all(css), 10, css)
        self.one(css).click()

    def label(self, text):
        self.click(f'[aria-label="{text}"]')

    def rows(self):
        """The table of dead letters, as texts."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll('#letters tbody tr')].map(r => [...r.cells].map(c => c.innerText))")

    def waits_for_rows(self, count):
        wait_until(lambda: len(self.rows()) == count, 30, f"{count} rows")

    def waits_for(self, id, *parts):
        wait_until(lambda: all(part in self.text(id) for part in parts), 30, f"{parts} in {id}")

    def source(self):
        return self.driver.execute_script("return document.documentElement.outerHTML")

    def faults(self):
        """What the page's script and its policy complained about. That nothing is there yet is an answer, no fault."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE" and "status of 404" not in entry["message"]]


@pytest.fixture
def full(servers, tmp_path):
    server = servers(pools=(POOL + "=2",))
    fill(server, tmp_path)
    return server


def test_pools_are_shown_and_a_test_message_is_stored(servers, browser):
    server = servers(pools=(POOL + "=2",))
    page = Page(browser, server)
    assert "emails-0001.fifo" in page.text("pools")
    page.one("#body").send_keys("typed")
    page.click("#button")
    page.waits_for("answer", "Stored in emails-000")
    assert [m["Body"] for m in server.drain(POOL)] == ["typed"]
    assert page.faults() == []


def test_a_dead_letter_queue_without_letters_says_so(servers, browser):
    server = servers(pools=(POOL + "=1",))
    page = Page(browser, server)
    page.waits_for("dead-facts", f"{DEAD} is empty")
    assert page.one("#redrive-all").get_property("disabled") and page.one("#redrive-some").get_property("disabled")
    assert page.rows() == [] and not page.one("#progress").is_displayed()
    assert page.faults() == []


def test_dead_letters_are_listed_with_their_reasons_and_one_body_is_shown_to_who_asks(servers, browser, tmp_path):
    server = servers(pools=(POOL + "=1",))
    fill(server, tmp_path, 2, 1, MARKUP)
    page = Page(browser, server)
    page.waits_for_rows(2)
    for row, letter in zip(page.rows(), listed(server)["deadLetters"], strict=True):
        assert row[1:6] == [letter["id"], letter["group"], letter["reason"], letter["errorClass"], str(letter["attempts"])]
        assert row[6].endswith("s") and row[7] == str(letter["sizeBytes"])
    # The queue itself is reached by its pool only.
    assert [o.text for o in page.all("#dead-pool option")] == [POOL]
    first = listed(server)["deadLetters"][0]
    page.label(f"Show {first['id']}")
    page.waits_for("letter", first["originalId"], first["deadAt"])
    assert "onerror" not in page.source().split("</script>")[-1] and "bold" not in page.text("letter")
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert not any("body=true" in name for name in asked)
    page.label(f"Show the body of {first['id']}")
    page.waits_for("letter", MARKUP)
    assert page.all("#letter img, #letter b") == [] and browser.title == "queuepool"
    page.label(f"Close {first['id']}")
    assert page.text("letter") == "" and not page.one("#letter").is_displayed()
    assert (server.pool(DEAD)["backlog"], server.pool(DEAD)["inFlight"]) == (2, 0)
    assert page.faults() == []


def test_a_group_s_name_is_text(servers, browser):
    server = servers(pools=(POOL + "=1",))
    server.send(POOL, "<b>group</b>", "b")
    for _ in range(11):
        server.answer("ReceiveMessage", {"QueueUrl": POOL, "VisibilityTimeout": 0})
    wait_until(lambda: listed(server)["deadLetters"], 30, "a dead letter")
    page = Page(browser, server)
    page.waits_for_rows(1)
    assert page.rows()[0][2:4] == ["<b>group</b>", "received-too-often"] and page.all("#letters b") == []


def test_the_selected_ones_are_redriven(full, browser):
    page = Page(browser, full)
    page.waits_for_rows(12)
    ids = with_bodies(full)
    assert page.one("#redrive-some").get_property("disabled")
    for number in ("3", "7"):
        page.label(f"Select {ids[number]}")
    page.click("#redrive-some")
    page.waits_for("progress", "COMPLETED", "moved 2 of 2")
    page.waits_for_rows(10)
    assert page.one("#redrive-some").get_property("disabled"), "what went is selected no longer"
    assert groups(full.drain(POOL)) == {"g0": ["3"], "g1": ["7"]}
    assert set(with_bodies(full)) == set(map(str, range(12))) - {"3", "7"}
    assert page.faults() == []


def test_all_are_redriven_at_a_rate_and_a_redrive_is_cancelled(full, browser):
    page = Page(browser, full)
    page.waits_for_rows(12)
    page.one("#rate").send_keys("1")
    page.click("#redrive-all")
    page.waits_for("progress", "RUNNING", "at most 1 a second")
    page.click("#cancel")
    page.waits_for("progress", "CANCELLED")
    left = len(listed(full)["deadLetters"])
    assert 0 < left <= 12
    page.waits_for_rows(left)
    assert full.get(LETTERS + "/redrive").json()["status"] == "CANCELLED"
    page.one("#rate").clear()
    page.click("#redrive-all")
    page.waits_for("progress", "COMPLETED", f"moved {left} of {left}")
    page.waits_for("dead-facts", "is empty")
    assert groups(full.drain(POOL)) == {f"g{g}": [str(n) for n in range(g, 12, 3)] for g in range(3)}
    assert page.faults() == []


def test_a_rate_that_is_none_is_not_sent(full, browser):
    page = Page(browser, full)
    page.waits_for_rows(12)
    page.one("#rate").send_keys("501")
    page.click("#redrive-all")
    assert browser.execute_script("return document.getElementById('rate').validity.rangeOverflow")
    assert full.get(LETTERS + "/redrive").status_code == 404


def test_one_is_deleted_after_a_question(full, browser):
    page = Page(browser, full)
    page.waits_for_rows(12)
    gone = with_bodies(full)["3"]
    page.label(f"Delete {gone}")
    question = browser.switch_to.alert
    assert gone in question.text
    question.dismiss()
    assert len(page.rows()) == 12 and full.get(f"{LETTERS}/{gone}").status_code == 200
    page.label(f"Delete {gone}")
    browser.switch_to.alert.accept()
    page.waits_for_rows(11)
    assert full.get(f"{LETTERS}/{gone}").status_code == 404 and "is deleted" in page.text("dead-answer")
    assert groups(full.drain(DEAD))["g0"] == ["0", "6", "9"]
    assert page.faults() == []


def test_a_dead_letter_that_a_receiver_has_is_not_deleted_and_the_page_says_why(full, browser):
    page = Page(browser, full)
    page.waits_for_rows(12)
    held = full.answer("ReceiveMessage", {"QueueUrl": DEAD, "VisibilityTimeout": 60, "MaxNumberOfMessages": 1})
    id = with_bodies(full)[held["Messages"][0]["Body"]]
    page.label(f"Delete {id}")
    browser.switch_to.alert.accept()
    page.waits_for("dead-answer", "409", "A receiver has the message")
    page.waits_for_rows(12)


def test_more_than_a_page_is_listed_in_steps(servers, browser, tmp_path):
    server = servers(pools=(POOL + "=2",))
    fill(server, tmp_path, 70, 7)
    page = Page(browser, server)
    page.waits_for_rows(50)
    page.click("#dead-more")
    page.waits_for_rows(70)
    assert [row[1] for row in page.rows()] == [l["id"] for l in listed(server, "?limit=500")["deadLetters"]]
    assert not page.one("#dead-more").is_displayed()
    page.label("Select all that are listed")
    page.click("#redrive-some")
    page.waits_for("progress", "COMPLETED", "moved 70 of 70")
    page.waits_for("dead-facts", "is empty")


def test_queues_that_cannot_be_listed_can_be_redriven_as_a_whole(servers, moto, browser, tmp_path, name):
    pool = name + ".fifo"
    control = ("--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", moto, "--region", "us-east-1")
    run("pool", "create", pool, "--backend", "sqs", "--shards", "1", *control, check=0)
    server = servers(*control, pools=())
    page = Page(browser, server)
    page.waits_for("dead-facts", "501", "AWS console")
    assert not page.one("#redrive-all").get_property("disabled") and page.one("#redrive-some").get_property("disabled")
    page.click("#redrive-all")
    page.waits_for("progress", "COMPLETED", "moved 0 of 0")


def test_a_message_is_asked_for_by_its_id(browser, server):
    server.post(f"/v1/pools/{POOL}/purge")
    sent = server.send(POOL, "g", "body", tags={"campaign": MARKUP})
    page = Page(browser, server)
    page.one("#track-id").send_keys(sent["id"])
    page.click("#track button")
    page.waits_for("track-answer", f"{sent['id']} is queued.")
    assert sent["shard"] in page.text("tracked") and MARKUP in page.text("tracked")
    page.one("#track-id").clear()
    page.one("#track-id").send_keys("nothing")
    page.click("#track button")
    page.waits_for("track-answer", "Nothing is known of such a message (404)")
    assert page.driver.title == "queuepool" and page.text("tracked") == ""
    server.drain(POOL)
