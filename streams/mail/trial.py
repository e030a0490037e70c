"""One mail to try a rule out: with sample data, to one address, and recorded nowhere."""

import uuid
from collections.abc import Mapping
from dataclasses import replace

from connectors.errors import Fatal, Reject
from connectors.sendgrid import SendGrid, SentMail
from schemas import mail_fields
from schemas.mail import MailRefusedError, MailRules, Rule
from schemas.paths import document, is_path, resolver
from schemas.segment import Call
from streams.clock import now
from streams.mail.check import template_variables

_LEFT_OUT = ("to", "cc", "bcc", "send_at", "sandbox")
"""A trial goes to nobody else, and at once."""


def find_rule(rules: MailRules, wanted: str) -> Rule:
    """A rule by its name, its event, or its number in the settings.

    Raises:
        Fatal: there is none, or several.
    """
    found = [rule for rule in rules.all if rule.name == wanted] or [rule for rule in rules.all if rule.event == wanted]
    if not found and wanted.isdecimal() and 0 < int(wanted) <= len(rules.all):
        found = [rules.all[int(wanted) - 1]]
    if len(found) != 1:
        named = ", ".join(f"{number} = {rule.name}" for number, rule in enumerate(rules.all, 1))
        raise Fatal(f"there is {'no' if not found else 'more than one'} rule {wanted}; rules: {named or 'none'}")
    return found[0]


async def send_trial(
    rule: Rule, api: SendGrid, to: str, properties: Mapping[str, object], *, is_sandbox: bool
) -> SentMail:
    """Send a mail of a rule.

    Args:
        rule: whichever.
        api: open.
        to: the only recipient.
        properties: of the call; what the template uses beside them gets sample texts.
        is_sandbox: SendGrid only checks it.

    Raises:
        Fatal: the rule makes no mail of such a call, or SendGrid refuses it.
        Retry, UncertainOutcomeError: SendGrid does not answer.
    """
    at = now()
    call = Call("track", f"trial-{uuid.uuid4()}", "", "", rule.event, at, at, {}, properties, {})
    mapped = rule.fields["dynamic_template_data"]
    samples = mapped if isinstance(mapped, Mapping) else await _variables(rule.fields["template_id"], api)
    given = resolver(mapped)(document(call))
    data = {name: f"sample {name}" for name in samples} | (given if isinstance(given, dict) else {})
    fields = {field: value for field, value in rule.fields.items() if field not in _LEFT_OUT}
    # By a path, so that nothing in the data is taken for one.
    fields |= {"to": to, "sandbox": is_sandbox, "dynamic_template_data": "$.context.data"}
    try:
        made = Rule(rule.name, rule.event, fields).mail(replace(call, context={"data": data}), "", at)
        return await api.send_mail(made.body)
    except MailRefusedError as error:
        raise Fatal(f"{error} (--properties gives the call other properties)") from error
    except Reject as error:
        raise Fatal(str(error)) from error


async def _variables(template: object, api: SendGrid) -> set[str]:
    """What a template uses; nothing where that cannot be asked."""
    try:
        found = None if is_path(template) else await api.template(mail_fields.template_id(template))
    except Fatal:
        return set()
    return template_variables(found) if found else set()
