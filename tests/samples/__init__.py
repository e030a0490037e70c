"""Payloads as SendGrid sends them: one per event type, and the signed known-answer vectors of its client libraries."""

from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent


def sample(table: str) -> bytes:
    """A body with one event, of the type that goes to this table."""
    return (_FOLDER / f"{table}.json").read_bytes()


class Vector(NamedTuple):
    """A signed body whose verification is known to succeed."""

    name: str
    key: str
    signature: str
    timestamp: str
    sha256: str
    events: int

    @property
    def body(self) -> bytes:
        return (_FOLDER / f"vector_{self.name}.json").read_bytes()

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-Twilio-Email-Event-Webhook-Signature": self.signature,
            "X-Twilio-Email-Event-Webhook-Timestamp": self.timestamp,
        }


VECTORS = (
    Vector(
        "a",  # sendgrid-python test/unit/test_eventwebhook.py
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
        "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
        "1600112502",
        "ef3e4606385ea6adbc55fceb6117cf2784040cf145a010e5ef4afc2bc7c70452",
        1,
    ),
    Vector(
        "b",  # sendgrid-nodejs packages/eventwebhook/src/eventwebhook.spec.js
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQ4LIFtWztlsF7skFqOncjD1lun4H5w8XOhyOArHW9RcIx/FfEzx6cikC/yPfUvwaX/JScE7Fc9CJD2afQ9Ok3Q==",
        "MEYCIQC/I4o6vCgqRYrTljjoVWB/GRWNtxeePlLMHr3x9ETeRQIhAIpV+03nREPTTHWSW0wIOA0EoMPdcNgXa70yCaqDJlu5",
        "1619651159",
        "fb73c7e6c15dd29e59ec6669322fab6b0e022d1e73cc60172807bca38e337822",
        2,
    ),
    Vector(
        "c",  # StrongGrid Source/StrongGrid.UnitTests/WebhookParserTests.cs, from SendGrid's live test
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2is1eViXeZ9NwNbYKD/b51+WBZQVf+mLT0QCLiD6+HgWlNkrldvci/3m/o72GgCr3ilINxo9FpHElSHNnlYA7A==",
        "MEYCIQC7zQwrnBHCHxGZOkh70LJ144tIuSOxru0YGCn/bSE0/QIhAJ22PAa8HdZZQ+wrK+9sgeWF8BDdd1t+zbmCLO33RcyA",
        "1606575372",
        "7b3fa2e3ef53fdf31fbf13f987e6c237030cb670d7621781ebdade373d71bad8",
        11,
    ),
)
