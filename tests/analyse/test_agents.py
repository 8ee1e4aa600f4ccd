"""User agents as platforms and browsers."""

import pandas as pd

from lib.analyse.agents import by_agent

MAC = '"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_4) AppleWebKit/537.36 (KHTML, like Gecko) '
CHROME = MAC + 'Chrome/36.0.1985.143 Safari/537.36"'
SAFARI = MAC + 'Version/7.0.6 Safari/537.78.2"'
FIREFOX = "Mozilla/5.0 (Windows NT 6.1; WOW64; rv:31.0) Gecko/20100101 Firefox/31.0"
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:31.0) Gecko/20100101 Firefox/31.0"
ROWS = [
    (CHROME, "8", 3, 4),
    (SAFARI, "8", 1, 1),  # one person with two browsers
    (SAFARI, "9", 2, 2),
    (FIREFOX, "9", 1, 1),
    (LINUX, "9", 5, 6),
    ("nonsense", "10", 1, 2),
    (None, "", 0, 7),
]
FRAME = pd.DataFrame(ROWS, columns=["user_agent", "user_id", "plays", "events"])


def test_people_are_counted_once_and_small_platforms_together():
    found = by_agent(FRAME, "platform", 2)
    assert list(found) == ["platform", "users", "plays", "events", "groups"]
    assert found.to_numpy().tolist() == [
        ["Mac OS X", 2, 6, 7, 1],
        ["others, under 2 users each", 1, 6, 7, 2],
        ["unknown", 1, 1, 9, 1],
    ]


def test_browsers_too():
    assert by_agent(FRAME, "browser", 1).to_numpy().tolist() == [
        ["Safari", 2, 3, 3, 1],
        ["Chrome", 1, 3, 4, 1],
        ["Firefox", 1, 6, 7, 1],
        ["unknown", 1, 1, 9, 1],
    ]


def test_of_no_events_there_is_no_platform():
    found = by_agent(FRAME.iloc[:0], "browser", 5)
    assert list(found) == ["browser", "users", "plays", "events", "groups"]
    assert len(found) == 0
