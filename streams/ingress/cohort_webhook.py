"""The endpoint of Amplitude's cohort webhook."""

from aiohttp import web

from connectors.kafka import NO_HEADERS, Record
from schemas import topics
from schemas.cohorts import MissingFactsError, cohort_batch
from streams import basic_auth
from streams.clock import now
from streams.ingress.intake import Intake
from streams.ingress.refusal import Refusal
from streams.sections import Contacts

SECRET_HEADER = "X-Gridstream-Secret"  # noqa: S105  its name


class CohortWebhook:
    """The endpoint of one account.

    Args:
        contacts: the account's settings.
        intake: where bodies go.
    """

    def __init__(self, contacts: Contacts, intake: Intake) -> None:
        self._account = contacts.name
        self._intake = intake
        self._secrets = [secret.get_secret_value().encode() for secret in contacts.secret]

    async def post(self, request: web.Request) -> web.Response:
        """Take one message of a cohort's.

        Raises:
            Refusal: 401, without the secret; 400, for a body that lacks a fact; and what body and intake refuse.
        """
        if not self._is_known(request):
            raise Refusal(401, f"wrong or missing {SECRET_HEADER}")
        body = await self._intake.bodies.read(request)
        try:
            batch = cohort_batch(body, self._account, now())
        except MissingFactsError as error:
            raise Refusal(400, str(error)) from error
        await self._intake.accept((topics.COHORTS, Record(batch.key, batch.line(), NO_HEADERS)))
        return web.Response()

    def _is_known(self, request: web.Request) -> bool:
        if self._secrets:
            given = request.headers.get(SECRET_HEADER, "").encode("utf-8", "replace")
            return basic_auth.is_among(given, self._secrets)
        return self._intake.is_local(request)
