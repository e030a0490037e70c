import json
import re
from pathlib import Path

import pytest

from connectors.errors import Fatal
from streams.settings import Settings, load
from tests.samples import VECTORS


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str) -> Settings:
    Path("gridstream.toml").write_text(text)
    return load()


def test_without_a_file_and_variables_everything_has_a_default() -> None:
    settings = load()

    assert [source.name for source in settings.sources] == ["sendgrid"]
    assert settings.ingress.host == "127.0.0.1"
    assert settings.kafka.servers == "127.0.0.1:9092"


def test_the_file_in_the_working_directory_is_read() -> None:
    assert written("[ingress]\nport = 9000").ingress.port == 9000


def test_another_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[ingress]\nport = 9001")

    assert load(tmp_path / "other.toml").ingress.port == 9001


def test_a_variable_wins_over_the_file_and_leaves_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDSTREAM_INGRESS__PORT", "9002")
    settings = written('[ingress]\nport = 9000\nhost = "localhost"')

    assert (settings.ingress.port, settings.ingress.host) == (9002, "localhost")


def test_lists_are_json_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDSTREAM_SOURCES", '[{"name": "eu", "password": ["old", "new"]}]')
    (source,) = load().sources

    assert source.name == "eu"
    assert [password.get_secret_value() for password in source.password] == ["old", "new"]


def test_a_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://u:p@host:8443\n")
    monkeypatch.setenv("GRIDSTREAM_CLICKHOUSE__URL_FILE", str(tmp_path / "url"))

    assert load().clickhouse.url.get_secret_value() == "https://u:p@host:8443"


def test_a_password_may_be_text_or_a_list_or_nothing() -> None:
    one, two, none = (
        written(f"[[sources]]\npassword = {value}").sources[0].password for value in ('"a"', '["a", "b"]', '""')
    )

    assert (len(one), len(two), len(none)) == (1, 2, 0)


def test_secrets_do_not_show() -> None:
    settings = written('[clickhouse]\nurl = "http://u:hidden@h"\n[[sources]]\npassword = "hidden"')

    assert "hidden" not in repr(settings)
    assert "hidden" not in str(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[ingress]\nport = "x"', "ingress.port: found 'x', expected a valid integer"),
        ("[ingress]\nport = 70000", "ingress.port: found 70000, expected less than or equal to 65535"),
        ("[ingress]\nprot = 1", "ingress.prot: no such setting; the nearest is port"),
        ("[ingres]\nport = 1", "ingres: no such setting; the nearest is ingress"),
        ('[[sources]]\nnam = "a"', "sources[0].nam: no such setting; the nearest is name"),
        ('[[sources]]\nname = "a b"', "sources[0].name: found 'a b', expected small letters"),
        ('[[sources]]\nname = "system"', "sources[0].name: found 'system'"),
        ('[[sources]]\nname = "../etc"', "sources[0].name: found '../etc'"),
        ('[[sources]]\nname = "a"\n[[sources]]\nname = "a"', "sources: two have the same name (a, a)"),
        ("sources = []", "sources: expected at least one"),
        ('[[sources]]\npublic_keys = ["x"]', "expected a verification key as SendGrid shows it"),
        ('[ingress]\nhost = "0.0.0.0"', "would let anybody post to the source sendgrid"),
        ("[ingress]\nmax_body_bytes = 100000000", "ingress.max_body_bytes: found 100000000, expected less than"),
        ('[clickhouse]\nurl = "host:8123"', "clickhouse.url: found a value that is not shown, expected http(s)://"),
        ("[ingress", "gridstream.toml is not TOML"),
        ('[[amplitude]]\nregion = "uk"', "amplitude[0].region: found 'uk', expected 'us' or 'eu'"),
        (
            '[[amplitude]]\nevents = ["opened"]',
            "expected wire names, and opened is none",
        ),
        ('[[amplitude]]\nsource = "x"', "amplitude.source: found 'x', expected one of sendgrid"),
        ("[[amplitude]]\n[[amplitude]]", "amplitude: two have the same name (sendgrid, sendgrid)"),
        ('[[amplitude]]\ncustom_args = "flat"', "expected allowed_args beside custom_args"),
        (
            '[ingress]\ncertificate = "c.pem"',
            "ingress: found one of certificate and private_key, expected both",
        ),
        ('[dashboard]\nprivate_key = "k.pem"', "dashboard: found one of certificate and private_key, expected both"),
        ('[ingress]\ntrusted_proxies = ["10.0.0.300"]', "ingress.trusted_proxies[0]"),
        ('[kafka]\nsecurity_protocol = "SSL"', 'kafka: found security_protocol = "SSL" without bootstrap_servers'),
        (
            '[kafka]\nbootstrap_servers = "h:1"\nsecurity_protocol = "SASL_SSL"\nusername = "u"',
            'kafka: found security_protocol = "SASL_SSL" without a login, expected username and password',
        ),
        (
            '[kafka]\nbootstrap_servers = "h:1"\nusername = "u"\npassword = "p"',
            'kafka: found security_protocol = "PLAINTEXT" with a login, expected username and password with SASL_SSL',
        ),
        ('[[relays]]\nurl = "host"', "relays[0].url: found a value that is not shown, expected http(s)://"),
        ('[[relays]]\nurl = "http://h"\n[[relays]]\nurl = "http://h"', "relays: two have the same name"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_found_and_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(Fatal, match=re.escape(message)):
        written(text)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(Fatal) as failure:
        written('[ingress]\nport = "x"\n[kafka]\nembedded_port = "y"')

    assert len(str(failure.value).splitlines()) == 2


def test_no_secret_is_in_a_message() -> None:
    with pytest.raises(Fatal) as failure:
        written('[[sources]]\npassword = ["hidden", 5]\nnope = "x"\n[[sources]]\npassword = {a = "hidden"}')

    assert "hidden" not in str(failure.value)


RULE = 'event = "Order"\ntemplate_id = "d-1"\nfrom = "shop@example.com"\nto = "$.properties.email"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('event = "Order"', "mail.rules[0].from: found nothing, expected a value"),
        (f"{RULE}\ntoo = 'x'", "mail.rules[0].too: no such setting; the nearest is to"),
        (f"{RULE}\nform = 'x'", "mail.rules[0].form: no such setting; the nearest is from"),
        (f"{RULE}\nheaders = {{To = 'x'}}", "mail.rules[0].headers: found 'To', expected a header that SendGrid does"),
        (f"{RULE}\ncc = ['$.propertys.x']", "mail.rules[0].cc: found '$.propertys.x', expected $.properties"),
        (f"{RULE}\nmax_age = -1", "mail.rules[0].max_age: found -1, expected greater than or equal to 0"),
        (f"{RULE}\ncc = 'a@example.com'\nbcc = 'A@example.com'", "mail.rules[0]: found 'A@example.com', expected each"),
        (f"{RULE}\nname = 'x'\n[[mail.rules]]\n{RULE}\nname = 'x'", "mail: found two rules called 'x'"),
        (f"{RULE}\n[mail]\nsource = 'nowhere'", "mail.source: found 'nowhere', expected one of sendgrid"),
    ],
)
def test_so_it_is_for_rules_of_mails(text: str, message: str) -> None:
    with pytest.raises(Fatal, match=re.escape(message)):
        written(f"[[mail.rules]]\n{text}")


def test_rules_of_mails_have_names() -> None:
    settings = written("\n".join(f"[[mail.rules]]\n{RULE}" for _ in range(2)))

    assert [rule.name for rule in settings.mail.compiled().all] == ["Order", "Order (2)"]


def test_rules_of_mails_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = {"event": "Order", "template_id": "d-1", "from": "shop@example.com", "to": "$.properties.email"}
    monkeypatch.setenv("GRIDSTREAM_MAIL__RULES", json.dumps([rule]))
    monkeypatch.setenv("GRIDSTREAM_MAIL__API_KEY", "SG.hidden")
    settings = load()

    assert settings.mail.key(settings.source()) == "SG.hidden"
    assert settings.mail.rules[0].fields == {name: value for name, value in rule.items() if name != "event"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GRIDSTREAM_INGRES__PORT", "1", "no such setting; the nearest is GRIDSTREAM_INGRESS"),
        ("GRIDSTREAM_INGRESS__PROT", "1", "ingress.prot: no such setting; the nearest is port"),
        ("GRIDSTREAM_SOURCES", "[{", "sources"),
        ("GRIDSTREAM_CLICKHOUSE__URL_FILE", "/nowhere", "GRIDSTREAM_CLICKHOUSE__URL_FILE"),
    ],
)
def test_so_it_is_for_variables(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(Fatal, match=re.escape(message)):
        load()


def test_a_missing_file_that_was_named_is_an_error() -> None:
    with pytest.raises(Fatal, match="cannot be read"):
        load(Path("nowhere.toml"))


@pytest.mark.parametrize("credential", ['password = "p"', f'public_keys = ["{VECTORS[0].key}"]'])
def test_a_source_with_credentials_may_listen_to_the_world(credential: str) -> None:
    assert written(f'[ingress]\nhost = "0.0.0.0"\n[[sources]]\n{credential}').ingress.host == "0.0.0.0"


def test_a_source_is_found_by_name_and_the_first_without_one() -> None:
    settings = written('[[sources]]\nname = "a"\n[[sources]]\nname = "b"')

    assert settings.source().name == "a"
    assert settings.source("b").name == "b"
    with pytest.raises(Fatal, match="there is no source c; configured: a, b"):
        settings.source("c")
