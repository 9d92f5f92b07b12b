# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The console page of a server that asks for a key."""

import pytest
from access_server import KeyServer
from conftest import wait_until
from test_console import Page, browser, pytestmark  # noqa: F401 (fixture and mark)


class Stranger(Page):
    """The page before anybody said who he is."""

    def __init__(self, driver, server):
        self.driver = driver
        driver.get_log("browser")
        driver.get(server.url + "/")

    def shows(self, token):
        wait_until(lambda: self.one("#access").is_displayed(), 30, "the question")
        self.one("#token").send_keys(token)
        self.click("#access-form button[type=submit]")

    def stored(self):
        return self.driver.execute_script("return [Object.values(sessionStorage), Object.values(localStorage), document.cookie]")


@pytest.fixture
def door(tmp_path):
    server = KeyServer(tmp_path, pools=("emails.fifo=2", "other.fifo=1"))
    yield server
    server.kill9()


def test_the_page_asks_for_a_token_and_works_with_it(door, browser):  # noqa: F811
    page = Stranger(browser, door)
    wait_until(lambda: page.one("#access").is_displayed(), 30, "the question")
    assert "401" in page.text("state") and page.text("pools") == ""
    page.shows(door.root["token"])
    page.waits_for("pools", "emails-0001.fifo", "other-0000.fifo")
    page.waits_for("access-answer", "accepts")
    page.waits_for("dead-facts", "is empty")
    page.one("#body").send_keys("typed")
    page.click("#button")
    page.waits_for("answer", "Stored in emails-000")
    assert [m["Body"] for m in door.drain("emails.fifo")] == ["typed"]
    assert page.stored() == [[door.root["token"]], [], ""]
    assert door.root["token"] not in page.source() and door.root["token"] not in browser.current_url
    assert page.one("#token").get_property("value") == "" and page.one("#token").get_property("type") == "password"
    assert not [fault for fault in page.faults() if "status of 401" not in fault]
    # It is kept for the tab, and goes when somebody says so.
    browser.refresh()
    page.waits_for("pools", "emails-0001.fifo")
    page.click("#forget")
    wait_until(lambda: page.text("pools") == "" and page.one("#access").is_displayed(), 30, "the question again")
    assert page.stored() == [[], [], ""]


def test_a_token_that_is_not_accepted_is_asked_for_again(door, browser):  # noqa: F811
    page = Stranger(browser, door)
    page.shows("qp_" + "x" * 43)
    page.waits_for("access-answer", "does not accept")
    key = door.key("few", "emails.fifo:send")
    page.shows(key["token"])
    page.waits_for("pools", "emails-0001.fifo")
    assert "other-0000.fifo" not in page.text("pools")
    page.waits_for("dead-facts", "'admin'", "403")
    door.revoke("few")
    page.waits_for("access-answer", "does not accept")
    wait_until(lambda: "emails-0001.fifo" not in page.text("pools"), 30, "the end of what was shown")


def test_a_server_that_asks_nobody_asks_nobody(servers, browser):  # noqa: F811
    page = Stranger(browser, servers(pools=("emails.fifo=1",)))
    page.waits_for("pools", "emails-0000.fifo")
    assert not page.one("#access").is_displayed() and page.stored() == [[], [], ""]
