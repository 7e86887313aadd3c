"""What hostile clients send: texts for any place, and whole documents. None of it may do harm, wherever it comes in."""

from __future__ import annotations

LAUGHS = "a: &a [x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)}, ' * 9}]\n" for n in range(9))

HARMFUL = [
    "vision\u202elab", "\u2066x\u2069", "vision\u200blab", "vіsion", "ｖision", "numрy", "ﬁle", "\u212a", "İ", "ſ",
    "a\0b", "a\r\nX-Header: y", "a\nb", "a\tb", "a\x1b[31m", "a\x7f", "\ufeffa", "\ud800",
    "-rm", "--privileged", "-v=/:/host", "../../etc", "/etc/passwd", "~root", "a/../b", "a\\b", "..", ".",
    "$(id)", "`id`", "a;b", "a|b", "a&b", "a>b", "${HOME}", "%s%n", "{{7*7}}", "{0}", "<script>", "' or 1=1", '"',
    "a b",
    "numpy @ file:///etc/passwd", "git+https://x/y", "numpy; import os", "numpy==1 --hash=x", "-e .", "numpy\n-r x",
]  # fmt: skip
NUMBERS = [
    "٣", "1e400", "-1", "1e9", "0x10", "1_000", "Infinity", "NaN", "1,5", "१GB", "8GB\u0000", "8 GB", "0.1.2",
    "9" * 300,
]  # fmt: skip
TEXTS = [*HARMFUL, *NUMBERS]
BODIES: list[tuple[str, bytes]] = [
    ("yaml", LAUGHS.encode()),
    ("yaml", b"env-name: !!python/object/apply:os.system ['id']"),
    ("yaml", b"env-name: !ruby/object x"),
    ("yaml", b"? [a, b]\n: c"),
    ("yaml", b"<<: {env-name: x}"),
    ("yaml", b"env-name: x\nenv-name: y"),
    ("yaml", b"%TAG ! tag:x,2000:\n---\nenv-name: !x y"),
    ("yaml", b"a" * 60_000 + b": b"),
    ("yaml", b"- " * 10_000),
    ("yaml", b"[" * 10_000),
    ("yaml", b"{a: " * 10_000),
    ("yaml", b"--- a\n--- b"),
    ("toml", b"env-name = 2020-01-01"),
    ("toml", b"env-name = 2020-01-01T00:00:00Z"),
    ("toml", b"priority = inf"),
    ("toml", b"priority = nan"),
    ("toml", b"priority = 0x10"),
    ("toml", b"env-name = 'x'\nenv-name = 'y'"),
    ("toml", b"[" * 10_000),
    ("toml", b"a = " + b"[" * 10_000),
    ("toml", b".".join([b"a"] * 10_000) + b" = 1"),
    ("toml", b"a = '''" + b"x" * 60_000),
    ("json", b'{"env-name": "x", "env-name": "y"}'),
    ("json", b'{"os": {"version": "12", "version": "13"}}'),
    ("json", b'{"priority": NaN}'),
    ("json", b'{"priority": -Infinity}'),
    ("json", b'{"priority": 1e400}'),
    ("json", b'{"priority": ' + b"9" * 5000 + b"}"),
    ("json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    ("json", b"[" * 10_000 + b"]" * 10_000),
    ("json", b'{"__proto__": {"env-name": "x"}, "constructor": 1}'),
    ("json", b'{"env-name": "\\ud800"}'),
    ("json", b'{"language": {"libraries": [' + b'"a",' * 15_000 + b'"a"]}}'),
    ("json", b'{"language": {"libraries": ["' + b"a" * 60_000 + b'"]}}'),
    ("json", b'{"language": {"libraries": ["' + b"(" * 250 + b'"]}}'),
    ("json", b"\xff\xfe{\0}\0"),
    ("json", b'"x"'),
    ("json", b"\xef\xbb\xbf"),
]
