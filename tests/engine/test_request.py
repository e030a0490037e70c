"""What a URL and the headers say: users, parameters, errors."""

import base64

import pytest
from clickhouse_connect.driver.transform import extract_exception_with_tag

from connectors.embedded.engine.errors import QueryError, trailer
from connectors.embedded.engine.request import Request
from connectors.embedded.engine.users import User, authenticate

PASSWORD = "pass:wörd"


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


@pytest.mark.parametrize(
    ("headers", "params", "user"),
    [
        ({}, {}, User.READER),
        (basic("default", "null"), {}, User.READER),
        (basic("gridstream", PASSWORD), {}, User.OWNER),
        ({"X-ClickHouse-User": "gridstream", "X-ClickHouse-Key": PASSWORD}, {}, User.OWNER),
        ({}, {"user": "gridstream", "password": PASSWORD}, User.OWNER),
        ({}, {"user": "default"}, User.READER),
    ],
)
def test_who_is_let_in(headers: dict[str, str], params: dict[str, str], user: User) -> None:
    assert authenticate(headers, params, PASSWORD) is user


@pytest.mark.parametrize(
    ("headers", "params"),
    [
        (basic("gridstream", ""), {}),
        (basic("root", PASSWORD), {}),
        ({"Authorization": "Bearer x"}, {}),
        ({"Authorization": "Basic ?"}, {}),
        ({"X-ClickHouse-User": "gridstream"}, {}),
        ({}, {"user": "gridstream", "password": "wrong"}),
        (basic("gridstream", PASSWORD), {"user": "gridstream", "password": PASSWORD}),
    ],
)
def test_who_is_not(headers: dict[str, str], params: dict[str, str]) -> None:
    with pytest.raises(QueryError) as error:
        authenticate(headers, params, PASSWORD)

    assert (error.value.code, error.value.status) == (516, 403)


def test_parameters_settings_and_the_rest() -> None:
    request = Request.parse(
        {
            "query": "SELECT {x:Int8}",
            "param_x": "1",
            "max_threads": "2",
            "session_id": "s",
            "compress": "1",
            "role": "r",
        },
        {"X-ClickHouse-Format": "JSON", "X-ClickHouse-Database": "d"},
    )

    assert (request.query, request.parameters, request.settings) == (
        "SELECT {x:Int8}",
        {"x": "1"},
        {"max_threads": "2"},
    )
    assert (request.default_format, request.database, request.compress) == ("JSON", "d", "LZ4")
    assert request.session
    assert (request.session.id, request.session.timeout) == ("s", 60)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"compress": "maybe"}, 467),
        ({"client_protocol_version": "x"}, 72),
        ({"session_id": "s", "session_timeout": "3601"}, 374),
        ({"default_format": "JSON SETTINGS filter = 'x'"}, 73),
        ({"query_id": "x\r\nSet-Cookie: y"}, 36),
    ],
)
def test_what_can_not_be(params: dict[str, str], code: int) -> None:
    with pytest.raises(QueryError) as error:
        Request.parse(params, {})

    assert error.value.code == code


def test_errors_keep_the_words_of_the_engine() -> None:
    error = QueryError.from_engine("Streaming insert failed: Code: 60. DB::Exception: no table. (UNKNOWN_TABLE)")

    assert (error.code, error.status) == (60, 404)
    assert error.body("26.9") == "Code: 60. DB::Exception: no table. (UNKNOWN_TABLE) (version 26.9)"
    assert (
        QueryError.from_engine("what?").body("26.9").startswith("Code: 1002. DB::Exception: what?. (UNKNOWN_EXCEPTION)")
    )


def test_a_client_finds_the_error_after_the_data() -> None:
    text = "Code: 395. DB::Exception: schön. (X) (version 26.9)"

    assert extract_exception_with_tag(b"1\n2\n" + trailer(text, "abcdefghijklmnop"), "abcdefghijklmnop") == text
