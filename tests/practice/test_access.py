"""Who gets in: a fixed token, or one that is issued, runs out and is taken back."""

import pytest
import requests

from grove.testing.practice import PracticeAPI

CLIENT = {"client_id": "corp", "client_secret": "hidden"}
ASK = {"grant_type": "client_credentials", **CLIENT}


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def api(clock):
    with PracticeAPI(3, client=("corp", "hidden"), token_lifetime=60, clock=clock) as api:
        yield api


def status(api, token):
    return requests.get(api.url, headers={"Authorization": f"Bearer {token}"}, timeout=5).status_code


def issued(api):
    answer = requests.post(api.token_url, ASK, timeout=5)
    assert answer.status_code == 200
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 60)
    return answer.json()["access_token"]


def test_a_token_is_good_until_its_time_is_over(api, clock):
    token = issued(api)
    assert status(api, token) == 200
    clock.now += 59
    assert status(api, token) == 200
    clock.now += 1
    assert status(api, token) == 401
    assert status(api, issued(api)) == 200
    assert api.tokens_issued == 2


def test_a_token_can_be_taken_back(api):
    token = issued(api)
    api.revoke()
    assert status(api, token) == 401
    second = issued(api)
    assert second != token
    assert (status(api, token), status(api, second)) == (401, 200)


def test_the_fixed_token_is_good_all_the_same_and_can_be_replaced(api):
    assert status(api, "practice-token") == 200
    api.token = "another"
    assert (status(api, "practice-token"), status(api, "another")) == (401, 200)


@pytest.mark.parametrize(
    ("change", "code"),
    [({"client_secret": "guess"}, 401), ({"client_id": ""}, 401), ({"grant_type": "password"}, 400)],
)
def test_others_get_no_token(api, change, code):
    answer = requests.post(api.token_url, {**ASK, **change}, timeout=5)
    assert (answer.status_code, api.tokens_issued) == (code, 0)
    assert answer.json()["error"]


def test_tokens_are_issued_only_where_there_is_a_client():
    with PracticeAPI(1) as api:
        assert requests.post(api.token_url, ASK, timeout=5).status_code == 404
        assert requests.post(api.url, ASK, timeout=5).status_code == 404


def test_asking_for_a_token_is_no_request_of_the_script(api):
    issued(api)
    assert api.requests == []
