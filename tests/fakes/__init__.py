"""Stateful fakes of the outside services, faithful to what their vendors document, for all tests that need one.

    async with FakeSendGrid() as fake:                      # serves on a free loopback port: fake.url, fake.key
        fake.add_contact("ada@example.com")                 # what is there already
        fake.timing.job = 2.0                               # how long things take,
        fake.limits.upsert_rows = 100                       # how much fits,
        fake.choices.duplicate_rows = "error"               # what SendGrid does where nothing says so
        fake.rates.set("PUT", "/v3/marketing/contacts", requests=3, seconds=2)
        fake.fail("POST", "/v3/marketing/lists", LOST_ANSWER)                 # see tests.fakes.faults
        fake.fail("GET", "/v3/marketing/*", Respond(503), times=3, skip=1)
        fake.on_call = crash                                # runs before each call has its effect
        ...
        fake.clock.advance(2.0)                             # time passes by itself too, unless Clock(start) was given
        assert fake.members("VIP") == {"ada@example.com"}   # state: fake.contacts, fake.lists, fake.jobs, …
        assert not fake.called("DELETE", "/v3/marketing/contacts")

What a fake cannot answer for a fault of its own is raised when its context ends.
"""
