"""Transactional templates (facts 3)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from tests.fakes.clock import Clock, iso
from tests.fakes.sendgrid.api import Ids, Json, Request, Route, not_found, page
from tests.fakes.server import Answer

Generation = Literal["dynamic", "legacy"]


@dataclass(slots=True)
class Version:
    """One version of a template.

    Attributes:
        id: SendGrid's.
        name: of the version.
        subject: may have handlebars,
        html_content: as well,
        plain_content: as well.
        active: whether it is the one that is sent.
        updated_at: seconds since 1970.
    """

    id: str
    name: str
    subject: str
    html_content: str
    plain_content: str
    active: bool
    updated_at: float


@dataclass(slots=True)
class Template:
    """One template.

    Attributes:
        id: begins with `d-` for a dynamic one.
        name: of the template.
        generation: legacy ones take substitutions.
        updated_at: seconds since 1970.
        versions: at most one is active.
    """

    id: str
    name: str
    generation: Generation
    updated_at: float
    versions: list[Version] = field(default_factory=list)


class Templates:
    """All templates.

    Attributes:
        all: by id.
    """

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self.all: dict[str, Template] = {}
        self._clock = clock
        self._ids = ids

    def add(self, name: str, generation: Generation) -> Template:
        """A new template, without a version."""
        plain = self._ids.uuid()
        template_id = f"d-{plain.replace('-', '')}" if generation == "dynamic" else plain
        new = Template(template_id, name, generation, self._clock.now())
        self.all[new.id] = new
        return new

    def add_version(self, template: Template, subject: str, html: str, plain: str, *, active: bool) -> Version:
        """A new version; an active one takes the place of the one that was."""
        name = f"version {len(template.versions) + 1}"
        version = Version(self._ids.uuid(), name, subject, html, plain, active, self._clock.now())
        if active:
            for other in template.versions:
                other.active = False
        template.versions.append(version)
        return version

    def routes(self) -> Iterator[Route]:
        """Reading only."""
        yield Route("GET", "/v3/templates", self._page, "templates.read")
        yield Route("GET", "/v3/templates/{id}", self._get, "templates.read")

    def _page(self, request: Request) -> Answer:
        """`page_size` is required; the default generation is legacy."""
        generations = set(request.query.get("generations", "legacy").split(","))
        chosen = self.all
        if not generations.issuperset(get_args(Generation)):
            chosen = {each.id: each for each in self.all.values() if each.generation in generations}
        found, metadata = page(request, chosen, default=None, most=200)
        return Answer(body={"result": [_json(each, is_full=False) for each in found], "_metadata": metadata})

    def _get(self, request: Request) -> Answer:
        if request.id not in self.all:
            raise not_found("template not found")
        return Answer(body=_json(self.all[request.id], is_full=True))


def _json(one: Template, *, is_full: bool) -> dict[str, Json]:
    return {
        "id": one.id,
        "name": one.name,
        "generation": one.generation,
        "updated_at": iso(one.updated_at),
        "versions": [_version(one, each, is_full=is_full) for each in one.versions],
    }


def _version(template: Template, one: Version, *, is_full: bool) -> dict[str, Json]:
    """Without its content in the list of templates; `active` is 0 or 1."""
    body: dict[str, Json] = {
        "id": one.id,
        "template_id": template.id,
        "active": int(one.active),
        "name": one.name,
        "subject": one.subject,
        "updated_at": iso(one.updated_at),
    }
    return body | {"html_content": one.html_content, "plain_content": one.plain_content} if is_full else body
