"""Whether the rules fit the account: asked of SendGrid before a customer finds out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from connectors.http import ForbiddenError
from connectors.sendgrid import SendGrid
from schemas import mail_fields
from schemas.handlebars import variables
from schemas.mail import MailRules, Rule
from schemas.paths import is_path
from streams.doctor.finding import Finding

T = TypeVar("T")

_UNKNOWN = "only a call knows it"


async def check(rules: MailRules, api: SendGrid) -> AsyncIterator[Finding]:
    """Check one thing after the other.

    Raises:
        Retry, Fatal: SendGrid does not answer, or refuses the key.
    """
    account = _Account(api, await api.scopes())
    for rule in rules.all:
        async for finding in _template(rule, account):
            yield finding
        for findings in (_sender(rule, account), _group(rule, account), _pool(rule, account)):
            async for finding in findings:
                yield finding


def template_variables(template: Mapping[str, Any]) -> set[str]:
    """What the active version of a template, as SendGrid has it, uses."""
    version = _active(template) or {}
    return variables(*(str(version.get(part) or "") for part in ("subject", "html_content", "plain_content")))


def _active(template: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((version for version in template.get("versions") or [] if version.get("active")), None)


class _Account:
    """What SendGrid says, as far as the key may ask."""

    def __init__(self, api: SendGrid, scopes: Collection[str]) -> None:
        self.api = api
        self._scopes = scopes

    async def ask(self, subject: str, scope: str, question: Callable[[], Awaitable[T]]) -> T | Finding:
        """An answer, or the finding that the key may not ask."""
        if scope not in self._scopes:
            return Finding(subject, "the API key may not ask", f"give it the scope {scope}")
        return await question()

    async def single_senders(self) -> Mapping[str, bool] | None:
        """The addresses of Single Senders, and whether each is verified; None where the key may not ask.

        Which scope it needs SendGrid does not say, so that it has to be tried.
        """
        try:
            return await self.api.single_senders()
        except ForbiddenError:
            return None


async def _template(rule: Rule, account: _Account) -> AsyncIterator[Finding]:
    subject = f"{rule.name}: template_id"
    value = rule.fields["template_id"]
    if is_path(value):
        yield Finding(subject, _UNKNOWN)
        return
    template_id = mail_fields.template_id(value)
    found = await account.ask(subject, "templates.read", partial(account.api.template, template_id))
    if isinstance(found, Finding):
        yield found
        return
    if found is None:
        remedy = "SendGrid shows the ids: Email API > Dynamic Templates"
        yield Finding(subject, f"there is no template {template_id}", remedy)
        return
    active = _active(found)
    if found.get("generation") != "dynamic":
        yield Finding(subject, f"{found.get('name')} is a legacy template", "use a dynamic one: its id begins with d-")
    elif active is None:
        yield Finding(subject, f"{found.get('name')} has no active version", "activate one in SendGrid")
    else:
        yield Finding(subject, f"{found.get('name')}, {active.get('name')}")
        for finding in _data(rule, template_variables(found)):
            yield finding


def _data(rule: Rule, wanted: set[str]) -> Iterator[Finding]:
    subject = f"{rule.name}: dynamic_template_data"
    data = rule.fields["dynamic_template_data"]
    named = ", ".join(sorted(wanted)) or "nothing"
    if not isinstance(data, Mapping):
        yield Finding(subject, f"the template uses {named}: {data} should have these")
    elif missing := sorted(wanted - data.keys()):
        yield Finding(subject, f"leaves empty what the template uses: {', '.join(missing)}", "add them, or their paths")
    else:
        yield Finding(subject, f"has all that the template uses: {named}")


async def _sender(rule: Rule, account: _Account) -> AsyncIterator[Finding]:
    subject = f"{rule.name}: from"
    value = rule.fields["from"]
    email = value.get("email") if isinstance(value, Mapping) else value
    if is_path(email):
        yield Finding(subject, _UNKNOWN)
        return
    domains = await account.ask(subject, "whitelabel.read", account.api.domains)
    host = str(email).rpartition("@")[2].lower()
    if not isinstance(domains, Finding):
        for domain, is_valid in domains.items():
            if is_valid and (host == domain.lower() or host.endswith(f".{domain.lower()}")):
                yield Finding(subject, f"{email}, of the authenticated domain {domain}")
                return
    senders = await account.single_senders()
    is_verified = senders.get(str(email).lower()) if senders is not None else None
    if is_verified:
        yield Finding(subject, f"{email}, a verified Single Sender")
    elif is_verified is False:
        yield Finding(
            subject, f"{email} is a Single Sender that is not verified", "follow the link in SendGrid's mail to it"
        )
    elif isinstance(domains, Finding):
        yield domains
    else:
        remedy = "authenticate it (Settings > Sender Authentication), or verify the address there as a Single Sender"
        if senders is None:
            remedy += "; whether it is one the API key may not ask"
        yield Finding(subject, f"{host} is no authenticated domain of the account", remedy)


async def _group(rule: Rule, account: _Account) -> AsyncIterator[Finding]:
    value = rule.fields.get("group_id")
    if mail_fields.is_blank(value) or is_path(value):
        return
    subject, number = f"{rule.name}: group_id", mail_fields.group_id(value)
    groups = await account.ask(subject, "asm.groups.read", account.api.unsubscribe_groups)
    if isinstance(groups, Finding):
        yield groups
    elif number in groups:
        yield Finding(subject, f"{number}, {groups[number]}")
    else:
        known = ", ".join(f"{name} [{each}]" for each, name in groups.items()) or "none"
        yield Finding(subject, f"there is no unsubscribe group {number}", f"take one of: {known}")


async def _pool(rule: Rule, account: _Account) -> AsyncIterator[Finding]:
    value = rule.fields.get("ip_pool_name")
    if mail_fields.is_blank(value) or is_path(value):
        return
    subject, name = f"{rule.name}: ip_pool_name", mail_fields.ip_pool_name(value)
    pools = await account.ask(subject, "ips.pools.read", account.api.ip_pools)
    if isinstance(pools, Finding):
        yield pools
    elif name in pools:
        yield Finding(subject, name)
    else:
        yield Finding(subject, f"there is no IP pool {name}", f"take one of: {', '.join(pools) or 'none'}")
