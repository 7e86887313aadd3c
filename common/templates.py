"""Templates: named contracts that others fill in. The only reader and writer of these keys.

template(name)       string  JSON: title description owner public contract created updated
templates            zset    all names
templates_of(owner)  set     an owner's names
templates_shipped    set     names that were loaded from `templates.yaml`; one that an admin deleted stays away
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar, cast

import yaml
from redis import Redis
from redis.client import Pipeline

from common.errors import NotFound, Taken, Unsuitable
from common.keys import Keys

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
SHIPPED = ""  # the owner of those that came with DCloud
MAX_OF_ONE = 200
Answer = TypeVar("Answer")
CHUNK = 100


@dataclass(frozen=True)
class Template:
    """A named contract. `contract` is a document that may leave out anything; times are seconds since the epoch."""

    name: str
    title: str
    description: str
    owner: str  # SHIPPED, or a user
    public: bool
    contract: dict[str, Any]
    created_at: float = 0.0
    updated_at: float = 0.0


class Templates:
    """All templates of an installation. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._keys = keys

    def get(self, name: str) -> Template:
        """Raises NotFound."""
        self._ship()
        text = cast(str | None, self._redis.get(self._keys.template(name))) if NAME.fullmatch(name) else None
        if text is None:
            raise NotFound(f"There is no template {name[:63]}.")
        return _read(name, text)

    def page(self, wanted: Callable[[Template], bool], after: str, limit: int) -> list[Template]:
        """At most `limit` of those that are wanted, by name, beginning after the name `after`."""
        self._ship()
        found: list[Template] = []
        while True:
            low = f"({after}" if after else "-"
            names = cast(list[str], self._redis.zrangebylex(self._keys.templates(), low, "+", 0, CHUNK))
            texts = cast(list[str | None], self._redis.mget([self._keys.template(name) for name in names] or [""]))
            for name, text in zip(names, texts, strict=False):
                if text is not None and wanted(template := _read(name, text)):
                    found.append(template)
                    if len(found) == limit:
                        return found
            if len(names) < CHUNK:
                return found
            after = names[-1]

    def create(self, template: Template) -> Template:
        """Add one. Raises Taken, and Unsuitable where its owner has too many."""
        self._ship()
        if self._redis.scard(self._keys.templates_of(template.owner)) >= MAX_OF_ONE:
            raise Unsuitable(f"{template.owner} has {MAX_OF_ONE} templates already. Delete one first.")
        now = time.time()
        template = replace(template, created_at=now, updated_at=now)
        if not self._add(template):
            raise Taken(f"There is a template {template.name} already. Choose another name.")
        return template

    def change(self, name: str, change: Callable[[Template], Template]) -> Template:
        """Put what `change` makes of a template in its place, as long as nobody else has changed it meanwhile.

        Raises NotFound, and whatever `change` raises.
        """
        self._ship()

        def step(template: Template, pipe: Pipeline) -> Template:
            changed = replace(change(template), updated_at=time.time())
            pipe.multi()
            pipe.set(self._keys.template(name), _write(changed))
            return changed

        return self._transact(name, step)

    def delete(self, name: str, seen: Callable[[Template], object]) -> None:
        """Take it away. `seen` looks at it at that moment. Raises NotFound, whatever `seen` raises."""

        def step(template: Template, pipe: Pipeline) -> None:
            seen(template)
            pipe.multi()
            pipe.zrem(self._keys.templates(), name)
            pipe.srem(self._keys.templates_of(template.owner), name)
            pipe.delete(self._keys.template(name))

        self._transact(name, step)

    def _transact(self, name: str, step: Callable[[Template, Pipeline], Answer]) -> Answer:
        """What `step` does to a template as it is now, as long as nobody changes it meanwhile. Raises NotFound."""

        def watched(pipe: Pipeline) -> Answer:
            text = cast(str | None, pipe.get(self._keys.template(name)))
            if text is None:
                raise NotFound(f"There is no template {name[:63]}.")
            return step(_read(name, text), pipe)

        # redis-py types the step as if it gave nothing
        answer = self._redis.transaction(cast(Any, watched), self._keys.template(name), value_from_callable=True)
        return cast(Answer, answer)

    def _add(self, template: Template) -> bool:
        if not self._redis.set(self._keys.template(template.name), _write(template), nx=True):
            return False
        with self._redis.pipeline() as pipe:
            pipe.zadd(self._keys.templates(), {template.name: 0})
            pipe.sadd(self._keys.templates_of(template.owner), template.name)
            pipe.execute()
        return True

    def _ship(self) -> None:
        """Load what came with DCloud and was never loaded here."""
        names = list(_shipped())
        known = cast(list[int], self._redis.smismember(self._keys.templates_shipped(), names))
        now = time.time()
        for name in (name for name, there in zip(names, known, strict=True) if not there):
            self._add(replace(_shipped()[name], created_at=now, updated_at=now))
            self._redis.sadd(self._keys.templates_shipped(), name)


def filled(template: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The contract that a document means together with a template: what it says counts, and what it leaves out or
    leaves empty is the template's. Objects are merged, lists replaced."""
    result = {**template}
    for key, value in document.items():
        inner = template.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            result[key] = filled(inner, value)
        elif value not in (None, "") or key not in template:
            result[key] = value
    for one, other in (("libraries", "lock"), ("lock", "libraries")):  # a lock names all libraries: not both
        if document.get(one) and other not in document:
            result.pop(other, None)
    return result


def _read(name: str, text: str) -> Template:
    return Template(name=name, **json.loads(text))


def _write(template: Template) -> str:
    values = asdict(template)
    del values["name"]
    return json.dumps(values, separators=(",", ":"))


@cache
def _shipped() -> dict[str, Template]:
    documents = yaml.safe_load(files("common").joinpath("templates.yaml").read_text())
    return {name: Template(name=name, owner=SHIPPED, public=True, **values) for name, values in documents.items()}
