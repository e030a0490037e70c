"""Who asks: the reader or the owner, by credentials as ClickHouse takes them."""

import base64
import binascii
import enum
import hmac
from collections.abc import Mapping

from connectors.embedded.engine.errors import QueryError


class User(enum.Enum):
    """The two users, by their name."""

    READER = "default"
    OWNER = "gridstream"


def authenticate(headers: Mapping[str, str], params: Mapping[str, str], password: str) -> User:
    """Tell who sent a request.

    Args:
        headers: The request's, names in any case.
        params: The URL's.
        password: The owner's. The reader has none.

    Raises:
        QueryError: 516, AUTHENTICATION_FAILED.
    """
    name, key = _credentials(headers, params)
    if name == User.READER.value:
        return User.READER  # as ClickHouse: a user without a password is let in with any, and JDBC sends "null"
    if name == User.OWNER.value and hmac.compare_digest(key.encode(), password.encode()):
        return User.OWNER
    raise QueryError(
        516,
        "AUTHENTICATION_FAILED",
        f"{name}: Authentication failed: password is incorrect, or there is no user with such name.",
    )


def _credentials(headers: Mapping[str, str], params: Mapping[str, str]) -> tuple[str, str]:
    by_header = "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers
    by_params = "user" in params or "password" in params
    authorization = headers.get("Authorization", "")
    if by_header + by_params + bool(authorization) > 1:
        raise QueryError(
            516,
            "AUTHENTICATION_FAILED",
            "Invalid authentication: it is not allowed to use the Authorization HTTP header, X-ClickHouse HTTP headers "
            "and authentication via parameters simultaneously",
        )
    if by_header:
        return headers.get("X-ClickHouse-User", "") or User.READER.value, headers.get("X-ClickHouse-Key", "")
    if authorization:
        return _basic(authorization)
    return params.get("user", "") or User.READER.value, params.get("password", "")


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise QueryError(
                516,
                "AUTHENTICATION_FAILED",
                f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported",
            )
        name, _, key = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise QueryError(516, "AUTHENTICATION_FAILED", "Invalid authentication: the header can't be decoded") from error
    return name or User.READER.value, key
