"""Whom a request is taken to come from."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from streams.ingress.addresses import client_address, is_local

OUTSIDE = "203.0.113.7"


def request(peer: str, *forwarded_for: str, **headers: str) -> Any:
    pairs = [("X-Forwarded-For", value) for value in forwarded_for] + list(headers.items())
    return make_mocked_request("POST", "/", CIMultiDict(pairs)).clone(remote=peer)


def trusted(*networks: str) -> Sequence[Any]:
    return [ip_network(each) for each in networks]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "proxies", "expected"),
    [
        (OUTSIDE, [], [], OUTSIDE),
        ("127.0.0.1", [], [], "127.0.0.1"),
        ("::ffff:127.0.0.1", [], [], "127.0.0.1"),
        (OUTSIDE, ["127.0.0.1"], [], OUTSIDE),  # anybody can write it
        ("127.0.0.1", [OUTSIDE], [], "None"),  # a proxy on this machine that nobody has named
        ("127.0.0.1", [OUTSIDE], ["127.0.0.1"], OUTSIDE),
        ("10.0.0.2", [OUTSIDE], ["10.0.0.0/8"], OUTSIDE),
        ("10.0.0.2", [f"127.0.0.1, {OUTSIDE}"], ["10.0.0.0/8"], OUTSIDE),  # what was there before may be made up
        ("10.0.0.2", ["127.0.0.1", OUTSIDE], ["10.0.0.0/8"], OUTSIDE),  # in lines of their own, too
        ("10.0.0.2", [f"{OUTSIDE}, 10.0.0.3"], ["10.0.0.0/8"], OUTSIDE),
        ("10.0.0.2", ["127.0.0.1"], ["10.0.0.0/8"], "127.0.0.1"),
        ("10.0.0.2", [], ["10.0.0.0/8"], "None"),
        ("10.0.0.2", ["10.0.0.3"], ["10.0.0.0/8"], "None"),
        ("10.0.0.2", ["nonsense"], ["10.0.0.0/8"], "None"),
        ("10.0.0.2", [f"{OUTSIDE}:443"], ["10.0.0.0/8"], "None"),
        ("", [], [], "None"),
    ],
)
def test_only_proxies_that_are_known_are_believed(
    peer: str, forwarded_for: list[str], proxies: list[str], expected: str
) -> None:
    assert str(client_address(request(peer, *forwarded_for), trusted(*proxies))) == expected


def test_what_a_proxy_on_this_machine_passes_on_is_not_of_this_machine() -> None:
    assert is_local(request("127.0.0.1"), [])
    assert not is_local(request("127.0.0.1", Forwarded="for=127.0.0.1"), [])
    assert not is_local(request("127.0.0.1", "127.0.0.1"), [])


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)), max_size=5))
def test_nobody_outside_can_write_himself_inside(lines: list[str]) -> None:
    assert not is_local(request(OUTSIDE, *lines), trusted("10.0.0.0/8"))
    assert not is_local(request("10.0.0.2", *lines, OUTSIDE), trusted("10.0.0.0/8"))
