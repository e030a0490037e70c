import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.event_webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, Signer, is_signed, public_key
from tests.samples import VECTORS, Vector

OTHER_KEY = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA=="
OTHER_SIGNATURE = "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH3j/0="


def verifies(vector: Vector, **changed: Any) -> bool:
    request: dict[str, Any] = {"signature": vector.signature, "timestamp": vector.timestamp, "body": vector.body}
    request |= changed
    return is_signed([public_key(key) for key in request.pop("keys", [vector.key])], **request)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
class TestKnownAnswers:
    def test_the_body_is_what_was_published(self, vector: Vector) -> None:
        assert hashlib.sha256(vector.body).hexdigest() == vector.sha256

    def test_a_signed_body_verifies(self, vector: Vector) -> None:
        assert verifies(vector)

    def test_any_of_several_keys_serves_while_one_is_being_replaced(self, vector: Vector) -> None:
        assert verifies(vector, keys=[OTHER_KEY, vector.key])

    @pytest.mark.parametrize(
        "changed",
        [
            {"keys": []},
            {"keys": [OTHER_KEY]},
            {"signature": OTHER_SIGNATURE},
            {"signature": ""},
            {"signature": "not base64!"},
            {"signature": "AAAA"},
            {"timestamp": "timestamp"},
            {"timestamp": ""},
            {"timestamp": "٣"},
            {"body": b"payload"},
            {"body": b""},
        ],
        ids=str,
    )
    def test_anything_else_does_not(self, vector: Vector, changed: dict[str, object]) -> None:
        assert not verifies(vector, **changed)

    def test_a_body_that_was_touched_does_not(self, vector: Vector) -> None:
        body = vector.body
        for touched in (
            body.strip(),
            body.replace(b"\r\n", b"\n"),
            body.replace(b"\r\n", b""),
            json.dumps(json.loads(body)).encode(),
            json.dumps(json.loads(body), separators=(",", ":")).encode(),
            body + b" ",
        ):
            assert not verifies(vector, body=touched)

    def test_the_timestamp_is_signed_as_text(self, vector: Vector) -> None:
        assert not verifies(vector, timestamp=f"{vector.timestamp}.0")
        assert not verifies(vector, timestamp=f" {vector.timestamp}")


class TestKeys:
    def test_a_key_may_have_pem_armour_and_spaces_around_it(self) -> None:
        key = VECTORS[0].key
        armoured = f"\n-----BEGIN PUBLIC KEY-----\n{key[:64]}\n{key[64:]}\n-----END PUBLIC KEY-----\n"

        assert public_key(armoured) == public_key(key)

    @pytest.mark.parametrize("text", ["", "x", VECTORS[0].key[:-8], "AAAA", VECTORS[0].signature])
    def test_anything_else_is_refused_with_what_is_expected(self, text: str) -> None:
        with pytest.raises(ValueError, match="expected a verification key as SendGrid shows it"):
            public_key(text)


class TestSigner:
    def test_what_it_signs_verifies(self) -> None:
        signer = Signer.generate()
        headers = signer.headers("1700000000", b"[]\r\n")

        assert is_signed(
            [public_key(signer.public_key)], headers[SIGNATURE_HEADER], headers[TIMESTAMP_HEADER], b"[]\r\n"
        )

    def test_a_saved_key_is_loaded_again_and_nobody_else_may_read_it(self, tmp_path: Path) -> None:
        signer = Signer.generate()
        signer.save(tmp_path / "key.pem")

        assert Signer.load(tmp_path / "key.pem").public_key == signer.public_key
        assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600

    def test_a_file_without_a_key_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "key.pem").write_text("nothing")

        with pytest.raises(ValueError, match="PEM"):
            Signer.load(tmp_path / "key.pem")
