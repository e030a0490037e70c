"""What mails are sent with: domains, Single Senders, IP pools, tracking settings (facts 6.1)."""

from collections.abc import Iterator

from tests.fakes.sendgrid.api import Request, Route, not_found
from tests.fakes.server import Answer


class Senders:
    """An account's ways of sending.

    Attributes:
        pools: the names of its IP pools.
        domains: the authenticated ones: whether each is valid.
        single: the addresses of Single Senders: whether each is verified.
        tracking: whether each setting is on; what is off makes no events.
    """

    def __init__(self) -> None:
        self.pools: list[str] = []
        self.domains: dict[str, bool] = {}
        self.single: dict[str, bool] = {}
        self.tracking = {"open": True, "click": True, "subscription": True}

    def routes(self) -> Iterator[Route]:
        """Reading only. Which scope the Single Senders need is documented nowhere."""
        yield Route("GET", "/v3/ips/pools", self._pools, "ips.pools.read")
        yield Route("GET", "/v3/whitelabel/domains", self._domains, "whitelabel.read")
        yield Route("GET", "/v3/verified_senders", self._single, "whitelabel.read")
        yield Route("GET", "/v3/tracking_settings/{id}", self._tracking, "tracking_settings.read")

    def _pools(self, _: Request) -> Answer:
        return Answer(body=[{"name": name} for name in self.pools])

    def _domains(self, request: Request) -> Answer:
        """A bare array, with limit and offset."""
        limit, offset = request.integer("limit", 50, 1, 200), request.integer("offset", 0, 0, 10**6)
        domains = [
            {"id": number, "domain": domain, "valid": is_valid}
            for number, (domain, is_valid) in enumerate(self.domains.items(), 1)
        ]
        return Answer(body=domains[offset : offset + limit])

    def _single(self, request: Request) -> Answer:
        """Verified or not, those behind an id."""
        limit, last = request.integer("limit", 50, 1, 10**6), request.integer("lastSeenID", 0, 0, 10**6)
        senders = [
            {"id": number, "nickname": email, "from_email": email, "verified": is_verified, "locked": False}
            for number, (email, is_verified) in enumerate(self.single.items(), 1)
        ]
        return Answer(body={"results": senders[last : last + limit]})

    def _tracking(self, request: Request) -> Answer:
        if request.id not in self.tracking:
            raise not_found()
        return Answer(body={"enabled": self.tracking[request.id]})
