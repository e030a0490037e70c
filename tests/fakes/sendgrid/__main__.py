"""The fake in a process of its own: `python -m tests.fakes.sendgrid [--port N] [--contacts N] …`.

For measurements, where its memory and its work must not be counted as ours. The first line that it prints is a JSON
object with `url`, `key`, `list_id`, of a list that has all the contacts, and `template`, of a dynamic one.
"""

import asyncio
from argparse import ArgumentParser

import orjson

from tests.fakes.faults import Delay
from tests.fakes.sendgrid import FakeSendGrid


async def serve(port: int, contacts: int, answer_seconds: float) -> None:
    """Until it is stopped."""
    fake = FakeSendGrid()
    fake.port, fake.keep_bodies = port, False
    everybody = fake.add_list("Everybody")
    for number in range(contacts):
        fake.add_contact(f"person-{number}@example.com", lists=[everybody.id], first_name=f"First {number}")
    template = fake.add_template("Order", "Hello {{name}}")
    if answer_seconds:
        fake.fail("POST", "/v3/mail/send", Delay(answer_seconds), times=None)
    async with fake:
        about = {"url": fake.url, "key": fake.key, "list_id": everybody.id, "template": template.id}
        print(orjson.dumps(about).decode(), flush=True)  # noqa: T201  its output
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m tests.fakes.sendgrid", description="A fake SendGrid.")
    parser.add_argument("--port", type=int, default=0, help="0 is any free one")
    parser.add_argument("--contacts", type=int, default=0, help="so many are there already")
    parser.add_argument("--answer-seconds", type=float, default=0, help="that it takes for an answer to a mail")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.contacts, arguments.answer_seconds))
