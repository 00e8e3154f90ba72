"""The pages, in Flask's test client."""

from __future__ import annotations

import concurrent.futures
import html
import itertools
import re

import flask
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dynamo_ext.testing import DynamoDB
from examples.mixed.models import Poll
from examples.mixed.models import Vote
from examples.mixed.models import new_poll

QUESTIONS = re.compile(r"Question \d+\?")
LINK = re.compile(r'<a rel="next" href="([^"]+)">Older')
SITE = "Sec-Fetch-Site"
FOREIGN = [(SITE, "cross-site"), (SITE, "same-site"), ("Origin", "http://localhost:1")]
OWN = [(SITE, "same-origin"), ("Origin", "http://localhost"), ("User-Agent", "curl")]


@pytest.fixture
def client(web_app: flask.Flask) -> FlaskClient:
    return visitor(web_app, "jane")


@pytest.fixture
def poll(web_app: flask.Flask, dynamodb: DynamoDB) -> Poll:
    (poll,) = save_polls(web_app, 1)
    dynamodb.calls.clear()
    return poll


def visitor(app: flask.Flask, name: str) -> FlaskClient:
    client = app.test_client()

    with client.session_transaction() as session:
        session["voter"] = name

    return client


def save_polls(app: flask.Flask, count: int) -> list[Poll]:
    polls = [new_poll(f"Question {number}?", ["Yes", "No"]) for number in range(count)]

    with app.app_context(), Poll.batch_write() as batch:
        for poll in polls:
            batch.save(poll)

    return polls


def choose(client: FlaskClient, poll: Poll, choice: object) -> TestResponse:
    return client.post(f"/polls/{poll.id}", data={"choice": str(choice)})


def votes(app: flask.Flask, poll: Poll) -> tuple[list[int], int]:
    """What the poll counts, and how many votes are saved."""
    with app.app_context():
        poll.refresh(consistent_read=True)
        return poll.votes, Vote.count(poll.id)


def test_new_poll_is_shown(client: FlaskClient, dynamodb: DynamoDB) -> None:
    fields = {"question": " Tea?", "choices": "Yes, \nNo\n\n"}
    created = client.post("/", data=fields, follow_redirects=True)
    assert "<h1>Tea?</h1>" in created.text
    assert '<span class="choice">Yes,</span>' in created.text
    assert "Tea?" in client.get("/").text
    assert [call.operation for call in dynamodb.calls] == ["PutItem", "GetItem", "GetItem", "Query"]


@pytest.mark.parametrize(
    ("question", "choices", "error"),
    [
        (" ", "Yes\nNo", "A poll needs a question."),
        ("Tea?", "Yes\n \n", "A poll has 2 to 8 choices, this one has 1."),
        ("Tea?", "Yes\nNo\n Yes ", "A choice is there twice."),
        ("Tea?", "Yes\n" + "N" * 201, "A choice has at most 200 characters, not 201."),
    ],
)
def test_invalid_poll_is_refused(
    client: FlaskClient, dynamodb: DynamoDB, question: str, choices: str, error: str
) -> None:
    response = client.post("/", data={"question": question, "choices": choices})
    assert response.status_code == 400
    assert error in response.text
    assert [call.operation for call in dynamodb.calls] == ["Query"]


def test_vote_is_counted_and_shown(
    client: FlaskClient, dynamodb: DynamoDB, web_app: flask.Flask, poll: Poll
) -> None:
    assert choose(client, poll, 1).status_code == 303
    assert [call.operation for call in dynamodb.calls] == ["GetItem", "TransactWriteItems"]
    assert votes(web_app, poll) == ([0, 1], 1)
    page = client.get(f"/polls/{poll.id}").text
    assert "Your vote" in page
    assert "1 vote<" in page
    assert "<button" not in page


def test_vote_for_nothing_is_refused(client: FlaskClient, web_app: flask.Flask, poll: Poll) -> None:
    for choice in (-1, 2, "x", ""):
        response = choose(client, poll, choice)
        assert response.status_code == 400
        assert "Choose an answer." in response.text

    assert votes(web_app, poll) == ([0, 0], 0)


def test_only_the_first_vote_counts(client: FlaskClient, web_app: flask.Flask, poll: Poll) -> None:
    told = "You had already voted."
    choose(client, poll, 1)
    assert told not in client.get(f"/polls/{poll.id}").text
    choose(client, poll, 0)
    assert told in client.get(f"/polls/{poll.id}").text
    assert votes(web_app, poll) == ([0, 1], 1)


def test_two_quick_clicks_are_one_vote(web_app: flask.Flask, poll: Poll) -> None:
    clients = [visitor(web_app, "jane") for _ in range(2)]

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(choose, clients, itertools.repeat(poll), itertools.repeat(0)))

    assert [answer.status_code for answer in answers] == [303, 303]
    assert votes(web_app, poll) == ([1, 0], 1)


def test_votes_of_many_are_all_counted(web_app: flask.Flask, poll: Poll) -> None:
    clients = [visitor(web_app, f"visitor {number}") for number in range(12)]

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(choose, clients, itertools.repeat(poll), itertools.repeat(0)))

    assert votes(web_app, poll) == ([12, 0], 12)


def test_vote_whose_answer_was_lost_counts_once(
    client: FlaskClient, dynamodb: DynamoDB, web_app: flask.Flask, poll: Poll
) -> None:
    dynamodb.lose_response("TransactWriteItems")
    assert choose(client, poll, 0).status_code == 303
    assert "You had already voted." not in client.get(f"/polls/{poll.id}").text
    assert votes(web_app, poll) == ([1, 0], 1)


def test_vote_is_tried_again_while_another_is_counted(
    client: FlaskClient, dynamodb: DynamoDB, web_app: flask.Flask, poll: Poll
) -> None:
    dynamodb.fail("TransactWriteItems", error="TransactionCanceledException", times=2)
    assert choose(client, poll, 0).status_code == 303
    assert votes(web_app, poll) == ([1, 0], 1)


def test_failed_vote_is_shown_as_an_error(
    client: FlaskClient, dynamodb: DynamoDB, web_app: flask.Flask, poll: Poll
) -> None:
    # As often as it is tried.
    dynamodb.fail("TransactWriteItems", error="InternalServerError", times=100)
    response = choose(client, poll, 0)
    assert response.status_code == 500
    assert "<h1>Internal Server Error</h1>" in response.text
    assert votes(web_app, poll) == ([0, 0], 0)


def test_form_of_another_site_is_refused(
    client: FlaskClient, dynamodb: DynamoDB, poll: Poll
) -> None:
    for header in FOREIGN:
        response = client.post(f"/polls/{poll.id}", data={"choice": "0"}, headers=[header])
        assert response.status_code == 403, header

    assert dynamodb.calls == []


def test_own_form_is_accepted(client: FlaskClient, poll: Poll) -> None:
    for header in OWN:
        response = client.post(f"/polls/{poll.id}", data={"choice": "0"}, headers=[header])
        assert response.status_code == 303, header


def test_voter_is_known_before_the_first_form(web_app: flask.Flask) -> None:
    client = web_app.test_client()
    client.get("/")

    with client.session_transaction() as session:
        first = session["voter"]

    client.get("/")

    with client.session_transaction() as session:
        assert session["voter"] == first


def test_pages_have_ten_polls(
    web_app: flask.Flask, client: FlaskClient, dynamodb: DynamoDB
) -> None:
    save_polls(web_app, 11)
    dynamodb.calls.clear()
    newest = client.get("/").text
    assert QUESTIONS.findall(newest) == [f"Question {number}?" for number in range(10, 0, -1)]
    older = LINK.findall(newest)
    assert QUESTIONS.findall(client.get(html.unescape(older[0])).text) == ["Question 0?"]
    assert [call.operation for call in dynamodb.calls] == ["Query", "Query"]


def test_unknown_poll_is_not_found(client: FlaskClient) -> None:
    response = client.get("/polls/00000000-0000-0000-0000-000000000000")
    assert response.status_code == 404
    assert "There is no such poll." in response.text


def test_page_may_connect_to_the_live_results(client: FlaskClient, poll: Poll) -> None:
    response = client.get(f"/polls/{poll.id}")
    assert f'data-live="https://live.example/live/{poll.id}"' in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "connect-src 'self' https://live.example;" in policy
    assert "unsafe" not in policy


def test_ready_means_that_dynamodb_answers(client: FlaskClient, dynamodb: DynamoDB) -> None:
    assert client.get("/ready").text == "ready"
    # As often as it is tried.
    dynamodb.fail("ListTables", error="InternalServerError", times=100)
    assert client.get("/ready").status_code == 500
