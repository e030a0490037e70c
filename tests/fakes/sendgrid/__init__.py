"""A stateful fake of SendGrid's v3 API: one account with contacts, lists, mails and webhooks, on a loopback port.

"Facts" and a number mean a section of the project's fact sheet on SendGrid's API.
"""

from tests.fakes.sendgrid.account import FakeSendGrid

__all__ = ["FakeSendGrid"]
