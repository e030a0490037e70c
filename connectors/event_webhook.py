"""SendGrid's Signed Event Webhook: verifying what SendGrid signs, and signing as it does.

ECDSA on P-256 with SHA-256 over the timestamp header's text immediately followed by the body's bytes; the signature is
Base64 of its DER form, the public key one line of Base64 of its DER SubjectPublicKeyInfo.
Source: Twilio's "Getting Started with the Event Webhook Security Features" and the vectors of its client libraries.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"

_ALGORITHM = ec.ECDSA(SHA256())


def public_key(text: str) -> ec.EllipticCurvePublicKey:
    """A verification key as SendGrid shows it; PEM's first and last line may be there.

    Raises:
        ValueError: it is not such a key.
    """
    lines = [line for line in text.strip().splitlines() if not line.startswith("-----")]
    try:
        key = load_der_public_key(b64decode("".join(lines), validate=True))
    except (binascii.Error, ValueError):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(  # noqa: TRY004  the text is wrong, not a type
            "expected a verification key as SendGrid shows it: one line of Base64 that begins with MFkwEwYHKoZIzj0CAQ"
        )
    return key


def is_signed(keys: Iterable[ec.EllipticCurvePublicKey], signature: str, timestamp: str, body: bytes) -> bool:
    """Whether one of the keys has signed a request.

    Args:
        keys: several while SendGrid changes its key.
        signature: the header's value.
        timestamp: the header's value, exactly as it came.
        body: byte for byte.
    """
    try:
        decoded = b64decode(signature, validate=True)
        signed = timestamp.encode("ascii") + body
    except (binascii.Error, ValueError):
        return False
    return any(_verifies(key, decoded, signed) for key in keys)


def _verifies(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, _ALGORITHM)
    except InvalidSignature:
        return False
    return True


class Signer:
    """Signs bodies as SendGrid does: for simulated feeds and tests.

    Args:
        private_key: on P-256.
    """

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        self._private_key = private_key

    @classmethod
    def generate(cls) -> "Signer":
        """With a new key pair."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, path: Path) -> "Signer":
        """With the private key of a PEM file.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds no such key.
        """
        key = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} holds no elliptic-curve private key")  # noqa: TRY004  the file is wrong, not a type
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the private key as PEM, readable by its owner alone."""
        path.touch(mode=0o600)
        path.write_bytes(self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def public_key(self) -> str:
        """The verification key, as SendGrid shows it."""
        der = self._private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b64encode(der).decode()

    def headers(self, timestamp: str, body: bytes) -> dict[str, str]:
        """The headers of a signed request."""
        signature = self._private_key.sign(timestamp.encode() + body, _ALGORITHM)
        return {SIGNATURE_HEADER: b64encode(signature).decode(), TIMESTAMP_HEADER: timestamp}
