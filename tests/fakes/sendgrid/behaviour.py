"""What a test can turn: how long things take, how much fits, and what SendGrid does where nothing says so."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True)
class Timing:
    """How long things take, in seconds. Nothing of it is documented (facts 1.4).

    Attributes:
        job: a job on contacts; a function is asked for each, so that jobs can overtake each other (facts 1.4).
        search_lag: until what a job wrote is seen by searches and reads.
        removal_lag: until those see that somebody has left a list.
        field: until a new custom field can be written.
        field_removal: until the values of a deleted custom field are gone.
        export: an export.
        link: how long a download link is good for; 72 hours for exports (facts 2.4).
    """

    job: float | Callable[[], float] = 0.02
    search_lag: float = 0.0
    removal_lag: float = 0.0
    field: float = 0.0
    field_removal: float = 0.0
    export: float = 0.02
    link: float = 72 * 3600.0

    def of_job(self) -> float:
        """How long the next one takes."""
        return self.job if isinstance(self.job, int | float) else self.job()


@dataclass(slots=True)
class Limits:
    """How much fits; a test may want less.

    Attributes:
        upsert_rows: contacts in one PUT (facts 1),
        upsert_bytes: and bytes in its body.
        lookups: addresses or ids in one call (facts 2.1).
        url: characters of path and query before nginx refuses (facts 2.1).
        lists: of one account (facts 2.2).
        fields: custom ones (facts 2.6).
        contacts: of the account's plan (facts 1.4); None is any number.
        sample: contacts that samples and searches show (facts 2.1).
        webhooks: of the account's plan (facts 5).
        export_file: contacts in one file of an export; None leaves it to max_file_size.
    """

    upsert_rows: int = 30_000
    upsert_bytes: int = 6_000_000
    lookups: int = 100
    url: int = 8_150
    lists: int = 1_000
    fields: int = 500
    contacts: int | None = None
    sample: int = 50
    webhooks: int = 5
    export_file: int | None = None


@dataclass(slots=True)
class Choices:
    """What SendGrid does where its documents are silent or contradict each other (facts 9).

    Attributes:
        bad_email_message: how a 400 names an address (facts 1.4); without `{email}` it names none.
        names_all_bad_emails: whether it names all of them or the first.
        refused_emails: well-formed addresses, in lower case, that are refused as if they were not.
        errored_emails: addresses, in lower case, whose row fails in the job, with the reason (facts 1.4).
        missing_identifiers: whether a row that lacks an identifier of its contact fails in the job, or the whole
            request.
        duplicate_rows: whether of rows with one address in a request the last wins, or all but the first fail.
        unknown_list_status: of a PUT with a list that does not exist: 400 or 404 (facts 1.4).
        field_names_accepted: whether `custom_fields` may be keyed by name too.
        unique_list_names: whether a second list of a name is refused (facts 2.2).
        removal_jobs_readable: whether the job of a removal from a list is found where import jobs are; only those of
            upserts, imports and deletions are documented to be (facts 1.3).
        upsert_job_type: documented `upsert`, seen live `upsert_contacts` (facts 1.3).
        tests_carry_password: whether the Event Webhook's test posts with user and password of its URL; old documents
            say that it does not work with them.
        export_file_type: of all exports, whatever is asked for; empty is what is asked for.
        export_gzip: whether the files of exports are compressed (facts 2.4: normally, not always).
    """

    bad_email_message: str = "email '{email}' is not valid"
    names_all_bad_emails: bool = True
    refused_emails: set[str] = field(default_factory=set)
    errored_emails: dict[str, str] = field(default_factory=dict)
    missing_identifiers: Literal["job", "request"] = "job"
    duplicate_rows: Literal["last wins", "error"] = "last wins"
    unknown_list_status: Literal[400, 404] = 400
    field_names_accepted: bool = False
    unique_list_names: bool = True
    removal_jobs_readable: bool = False
    upsert_job_type: str = "upsert"
    tests_carry_password: bool = False
    export_file_type: Literal["", "csv", "json"] = ""
    export_gzip: bool = True
