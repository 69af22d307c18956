"""What is masked before diag keeps, shows or records it; and what stays, because the diagnosis needs it."""

from __future__ import annotations

import msgspec
import pytest

from diag.host import redact

SECRET = "hunter2-S3cr3t!"

NAMES = "password db_password userPassword PASSWD pwd X-Api-Key --token api_key apikey secretKey auth dsn pin"
NO_NAMES = (
    "author tokenizer passed pinned key keys path password_file token_count compass bypass self authenticated"
)


@pytest.mark.parametrize("name", NAMES.split())
def test_secret_names(name: str) -> None:
    assert redact.is_secret_name(name)
    assert redact.variable(name, f'"{SECRET}"') == '"***"'


@pytest.mark.parametrize("name", NO_NAMES.split())
def test_harmless_names(name: str) -> None:
    assert not redact.is_secret_name(name)
    assert redact.variable(name, '"hello"') == '"hello"'


HIDDEN = [
    ("conf", f'{{"user": "bob", "password": "{SECRET}", "port": 3306}}'),
    ("conf", f'{{"a": {{"token": ["x", "{SECRET}"]}}, "b": 1}}'),
    ("conf", f'{{"user": "q"uo", "password": "{SECRET}'),  # cut short, with a quote inside
    ("headers", f'[("Authorization", "Bearer {SECRET}"), ("Accept", "*/*")]'),
    ("command", f'["mysqldump", "--password", "{SECRET}", "db"]'),
    ("url", f'"postgres://bob:{SECRET}@db:5432/x"'),
    ("url", f'"postgres://bob:a/b{SECRET}@db:5432/x"'),
    ("url", f'"amqp://:{SECRET}@host//"'),
    ("text", f'"host=h password={SECRET} dbname=x"'),
    ("text", f'"Driver=x;UID=sa;PWD={SECRET};Server=1"'),
    ("text", f'"a=1&access_token={SECRET}&b=2"'),
    ("text", f'"Authorization: Basic {SECRET}xxxx"'),
    ("body", f'"{{\\"password\\": \\"{SECRET}\\"}}"'),
    ("sql", f'"UPDATE users SET name=\\"{SECRET}\\" WHERE id=7"'),
    ("sql", f"\"SELECT * FROM t WHERE a='{SECRET}'\""),
]


@pytest.mark.parametrize(("name", "value"), HIDDEN)
def test_secrets_inside_values_are_masked(name: str, value: str) -> None:
    assert SECRET not in redact.variable(name, value)


TOKENS = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "AKIAIOSFODNN7EXAMPLE", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "xoxb-123456789012-abcdef",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1", "0123456789abcdef0123456789abcdef",
    "-----BEGIN RSA PRIVATE KEY-----MIIE", "$2b$12$KIXQ0u1Yv9pUe1Qk3l0zUe",
]  # fmt: skip


@pytest.mark.parametrize("token", TOKENS)
def test_secrets_are_known_by_their_shape(token: str) -> None:
    assert token not in redact.variable("x", f'"{token}"')


KEPT = [
    ("path", '"/run/lock/session_id/0123456789abcdef0123456789abcdef.lock"'),
    ("password", "None"),
    ("password", "<Secret at 0x7f12ab>"),
    ("token_lock", "<_thread.lock at 0x7f12ab>"),
    ("url", '"http://host:8080/path?mail=a@b.com"'),
    ("job", '"550e8400-e29b-41d4-a716-446655440000"'),
    ("text", '"the author passed the tokenizer a path"'),
    ("count", "12345"),
    ("conf", '{"password": None, "user": "bob"}'),
]


@pytest.mark.parametrize(("name", "value"), KEPT)
def test_what_the_diagnosis_needs_stays(name: str, value: str) -> None:
    assert redact.variable(name, value) == value


def test_arguments_of_a_statement_are_masked() -> None:
    assert redact.variable("args", f'("{SECRET}", 5)', sql_arguments=True) == "***"
    assert redact.variable("args", "(5,)") == "(5,)"


def test_a_dump_is_masked_and_what_is_none_is_dropped() -> None:
    local = {"name": "password", "addr": 5, "arg": True, "repr": f'"{SECRET}"'}
    frames = [{"name": "f", "filename": "a.py", "line": 1, "locals": [local]}, {"name": "g", "locals": None}]
    masked = redact.dump(msgspec.json.encode([{"pid": 1, "frames": frames}]))
    assert SECRET.encode() not in masked
    assert msgspec.json.decode(masked)[0]["frames"][0]["locals"][0]["addr"] == 5
    for broken in (
        b"",
        b"[{",
        b"{}",
        b'[{"frames": 5}]',
        b'[{"frames": [{"locals": [{}]}]}]',
        SECRET.encode(),
    ):
        assert SECRET.encode() not in redact.dump(broken)


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        (b"mysql\0-phunter2\0-u\0root\0", b"mysql\0-p***\0-u\0root\0"),
        (b"app\0--password=hunter2\0--token\0hunter2\0-v\0", b"app\0--password=***\0--token\0***\0-v\0"),
        (b"celery\0-b\0redis://:hunter2@h:6379/0\0", b"celery\0-b\0redis://:***@h:6379/0\0"),
        (b"python\0app.py\0/run/x.lock\0", b"python\0app.py\0/run/x.lock\0"),
        (b"x\0\xff\xfe\0", b"x\0\xff\xfe\0"),
        (b"", b""),
    ],
)
def test_command_lines(line: bytes, masked: bytes) -> None:
    assert redact.arguments(line) == masked


def test_source_keeps_every_byte_in_its_place() -> None:
    text = (
        b'password = "hunter2"\nconf = {"token": b\'hunter2\', "user": "bob"}\n'
        b'os.environ["DB_PASSWORD"] = "hunter2"\nconnect(passwd="hunter2", lock="/run/x.lock")\n'
        b'url = "mysql://root:hunter2@h/db"\nsecret_key: str | None = "hunter2"\n'
    )
    masked = redact.source(text)
    assert b"hunter2" not in masked
    assert len(masked) == len(text)
    assert b'lock="/run/x.lock"' in masked
    assert b'"user": "bob"' in masked
