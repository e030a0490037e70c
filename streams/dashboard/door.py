"""Who may see the page, and what a browser may do with it."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from streams import basic_auth
from streams.sections import Dashboard
from streams.settings import is_loopback

_OPEN = frozenset({"/health"})
_HEADERS = {
    # Whatever came in with an event is text to the page; should it ever become more, the browser still runs nothing.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def door(settings: Dashboard) -> Middleware:
    """What each request passes: the login, if there is one, and the headers of each answer."""
    password = settings.password.get_secret_value().encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = None if request.path in _OPEN else _refusal(request, password)
        response = refusal or await _answered(request, handler)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    return middleware


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        return web.json_response({"error": refusal.text or refusal.reason}, status=refusal.status)


def _refusal(request: web.Request, password: bytes) -> web.Response | None:
    if password:
        _, _, given = basic_auth.given(request).partition(b":")
        if basic_auth.is_among(given, [password]):
            return None
        headers = {"WWW-Authenticate": 'Basic realm="gridstream", charset="UTF-8"'}
        return web.json_response({"error": "the password is dashboard.password"}, status=401, headers=headers)
    # Without a login whoever asks must have meant this machine: a web page elsewhere could have its own name lead here.
    if not is_loopback(request.url.host or ""):
        return web.json_response({"error": "without dashboard.password the page is at 127.0.0.1 only"}, status=403)
    return None
