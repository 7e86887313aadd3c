"""The environment contract: what a user asks for, checked and in the ledger's units.

`parse` takes a document (see `documents` for the formats) and gives a frozen `Contract`, or
raises ContractError with every problem of the document at once, each with its path.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict, dataclass
from typing import Any, cast

from marshmallow import RAISE, Schema, ValidationError, fields, post_load

from common import units
from common.errors import ContractError, Problem
from common.requirements import requirement

MAX_LIBRARIES = 200
MAX_PACKAGES = 100
MAX_TEXT = 256

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
_PYTHON_VERSION = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?", re.ASCII)
_DEBIAN_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,62}", re.ASCII)
_GPU = re.compile(r"(?:(?P<words>[^:]+(?::[^:]+)?):)?(?P<count>[0-9]{1,4})", re.ASCII)
_GPU_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,47}", re.ASCII)


@dataclass(frozen=True)
class Image:
    """An operating system or a language runtime: name, version and variant."""

    name: str
    version: str
    tags: str = ""


@dataclass(frozen=True)
class Gpus:
    """How many GPUs, of which model ("" is any) and with at least how much memory (0 is any)."""

    count: int = 0
    model: str = ""
    memory_mib: int = 0


@dataclass(frozen=True)
class Resources:
    """What a container may take at most, in the ledger's units."""

    cpu_milli: int
    ram_mib: int
    storage_mib: int
    gpus: Gpus = Gpus()


@dataclass(frozen=True)
class Contract:
    """What a user asks for. `name` is "" where the user gave none; 0 seconds of lifetime is no end."""

    name: str
    os: Image
    language: Image
    resources: Resources
    libraries: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    lifetime_seconds: int = 0
    priority: int = 5
    wait: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Contract:
        """The contract that `to_dict` wrote."""
        resources = dict(values["resources"])
        resources["gpus"] = Gpus(**resources["gpus"])
        return cls(
            **{
                **values,
                "os": Image(**values["os"]),
                "language": Image(**values["language"]),
                "resources": Resources(**resources),
                "libraries": tuple(values["libraries"]),
                "packages": tuple(values["packages"]),
            }
        )


def parse(document: object) -> Contract:
    """The contract in `document`, a mapping as JSON, YAML or TOML give it. Raises ContractError."""
    if not isinstance(document, dict):
        raise ContractError(
            [Problem("", "A contract is an object with keys such as env-name, os, language and resources.")]
        )
    try:
        return cast(Contract, _ContractSchema().load(document))
    except ValidationError as error:
        raise ContractError(sorted(_problems(error.messages), key=lambda p: p.path)) from None


class _Text(fields.Field[str]):
    """A string, or a number written without quotes; "" and None mean the default.

    `convert` turns the text into the field's value and raises ValueError with the end of a sentence
    that begins with the value.
    """

    def __init__(self, default: str, convert: Any = str):
        self.default_text = default
        self.convert = convert
        super().__init__(load_default=lambda: convert(default), allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        return super().deserialize(self.default_text if value is None else value, attr, data, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValidationError(f"must be a string or a number, not {_kind(value)}.")
        text = value if isinstance(value, str) else f"{value}"
        if len(text) > MAX_TEXT:
            raise ValidationError(f"is longer than {MAX_TEXT} characters.")
        if not text.isprintable():
            raise ValidationError("contains a line break, NUL or another character that cannot be printed. Remove it.")
        try:
            return self.convert(text.strip() or self.default_text)
        except ValueError as error:
            raise ValidationError(f"{text!r} {error}.") from None


class _TextList(fields.Field[tuple[str, ...]]):
    """A list of strings; one string is a list of one, "" is the empty list."""

    def __init__(self, convert: Any, limit: int):
        self.convert = convert
        self.limit = limit
        super().__init__(load_default=(), allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        return super().deserialize([] if value is None else value, attr, data, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            value = [value] if value.strip() else []
        if not isinstance(value, list):
            raise ValidationError(f"must be a list of strings, not {_kind(value)}.")
        if len(value) > self.limit:
            raise ValidationError(f"has {len(value)} entries; at most {self.limit} are allowed.")
        item = _Text("", self.convert)
        result, errors = [], {}
        for index, entry in enumerate(value):
            try:
                if entry is None or (isinstance(entry, str) and not entry.strip(" ")):
                    raise ValidationError("is empty. Remove it.")
                result.append(item.deserialize(entry))
            except ValidationError as error:
                errors[index] = error.messages
        if errors:
            raise ValidationError(cast(Any, errors))
        return tuple(result)


class _Strict(Schema):
    """Refuses unknown keys by name, with the nearest known one."""

    class Meta:
        unknown = RAISE

    def handle_error(self, error: ValidationError, data: Any, *, many: bool, **kwargs: Any) -> None:
        known = [f.data_key or name for name, f in self.fields.items()]
        messages = error.messages if isinstance(error.messages, dict) else {}
        for key, texts in messages.items():
            if key not in known and texts == [self.error_messages["unknown"]]:
                close = difflib.get_close_matches(str(key).lower(), known, n=1, cutoff=0.4)
                hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
                messages[key] = [f"is not a key of a contract. {hint}"]


def _matching(pattern: re.Pattern[str], what: str) -> Any:
    def convert(text: str) -> str:
        if text and not pattern.fullmatch(text):
            raise ValueError(what)
        return text

    return convert


def _between(convert: Any, low: int, high: int, what: str) -> Any:
    def checked(text: str) -> int:
        value = int(convert(text))
        if not low <= value <= high:
            raise ValueError(f"is out of range: {what}")
        return value

    return checked


def _digits(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise ValueError("is not a whole number")
    return int(text)


def gpus(text: str) -> Gpus:
    """`[MODEL:][MEMORY:]COUNT` as `Gpus`. Raises ValueError with the end of a sentence."""
    match = _GPU.fullmatch(text)
    if match is None:
        raise ValueError("is not a GPU request. Write [MODEL:][MEMORY:]COUNT, as in 1, H200:2, 40GB:1 or A100:80GB:4")
    count = int(match["count"])
    if count > 1024:
        raise ValueError("is out of range: at most 1024 GPUs")
    model, memory_mib = "", 0
    for word in (match["words"] or "").split(":"):
        try:
            memory_mib = units.size_mib(word)
            continue
        except ValueError:
            pass
        if not word:
            continue
        if model or memory_mib or not _GPU_MODEL.fullmatch(word):
            raise ValueError(
                f"has {word!r}, which is neither a GPU model nor a memory size. Write [MODEL:][MEMORY:]COUNT"
            )
        model = word
    return Gpus(count, model, memory_mib) if count else Gpus()


def _version_one(text: str) -> str:
    if text not in ("1", "1.0"):
        raise ValueError("is not a contract version that this server knows. Write 1")
    return "1"


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text.lower() == "true"


class _Flag(_Text):
    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        return value if isinstance(value, bool) else super()._deserialize(value, attr, data, **kwargs)


class _OsSchema(_Strict):
    name = _Text("debian", _matching(_IMAGE_NAME, "is not the name of an image: a-z, 0-9, '.', '_' and '-'"))
    version = _Text("12", _matching(_VERSION, "is not a version: letters, digits, '.', '_' and '-'"))
    tags = _Text("", _matching(_VERSION, "is not an image tag: letters, digits, '.', '_' and '-'"))
    packages = _TextList(_matching(_DEBIAN_PACKAGE, "is not the name of a Debian package"), MAX_PACKAGES)

    name.data_key = "image-name"


class _LanguageSchema(_Strict):
    name = _Text("python", _matching(re.compile("python"), "is not a language that can be had. Write python"))
    version = _Text("3.11", _matching(_PYTHON_VERSION, "is not a Python version. Write it as in 3.11"))
    tags = _Text("", _matching(_VERSION, "is not an image tag: letters, digits, '.', '_' and '-'"))
    libraries = _TextList(requirement, MAX_LIBRARIES)

    name.data_key = "image-name"


class _ResourcesSchema(_Strict):
    ram = _Text("2GB", _between(units.size_mib, 16, 64 * 2**20, "between 16MiB and 64TiB"))
    cpu = _Text("1", _between(units.cpu_milli, 10, 4_096_000, "between 0.01 and 4096 cores"))
    gpu = _Text("0", gpus)
    storage = _Text("10GB", _between(units.size_mib, 16, 2**30, "between 16MiB and 1024TiB"))


class _ContractSchema(_Strict):
    name = _Text(
        "",
        _matching(_NAME, "is not a name: 1 to 63 of A-Z, a-z, 0-9, '_', '.' and '-', beginning with a letter or digit"),
    )
    version = _Text("1", _version_one)
    os = fields.Nested(_OsSchema, load_default=lambda: _OsSchema().load({}))
    language = fields.Nested(_LanguageSchema, load_default=lambda: _LanguageSchema().load({}))
    resources = fields.Nested(_ResourcesSchema, load_default=lambda: _ResourcesSchema().load({}))
    lifetime = _Text("0s", _between(units.duration_seconds, 0, 5 * 365 * 86400, "at most 5 years"))
    priority = _Text("5", _between(_digits, 0, 9, "0 to 9"))
    wait = _Flag("false", _flag)

    name.data_key = "env-name"

    @post_load
    def build(self, values: dict[str, Any], **kwargs: Any) -> Contract:
        os, language, resources = values["os"], values["language"], values["resources"]
        return Contract(
            name=values["name"],
            os=Image(os["name"], os["version"], os["tags"]),
            language=Image(language["name"], language["version"], language["tags"]),
            resources=Resources(resources["cpu"], resources["ram"], resources["storage"], resources["gpu"]),
            libraries=language["libraries"],
            packages=tuple(sorted(set(os["packages"]))),
            lifetime_seconds=values["lifetime"],
            priority=values["priority"],
            wait=values["wait"],
        )


def _problems(messages: Any, path: str = "") -> list[Problem]:
    if isinstance(messages, dict):
        result = []
        for key, value in messages.items():
            inner = (
                path if key == "_schema" else f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}".lstrip(".")
            )
            result += _problems(value, inner)
        return result
    texts = messages if isinstance(messages, list) else [messages]
    return [Problem(path, "must be an object." if text == "Invalid input type." else str(text)) for text in texts]


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")
