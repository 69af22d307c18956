"""Masks secrets in what programs and processes say, before diag keeps, shows or records any of it.

It masks by name (a variable, a dictionary key, an option called like a secret) and by shape (credentials
in a URL, an Authorization header, a token, a private key, the literals of an SQL statement). Better a
harmless value too many than a password in a bug report; addresses, types and paths stay readable,
because the diagnosis stands on them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

MASK = "***"

_WORDS = (
    r"pass(?:word|wd|phrase|code)s?|pwd?s?|pin|secrets?|tokens?|jwt|credentials?|creds?|cookies?|bearer"
    r"|auth(?:orization|entication)?|dsn|conn(?:ection)?_?(?:str(?:ing)?|url|uri)|(?:db|database)_?(?:url|uri)"
    r"|(?:api|app|access|secret|private|priv|encryption|signing|ssh|aes|hmac|master|shared|account|auth|host)"
    r"_?keys?|session_?(?:id|key)|csrf\w*|otp|totp|cvv|cvc|ssn|iban|card_?number|nonce|salt|signature"
)
# The word stands alone between underscores: db_password, user_password, x_api_key, token; not author,
# tokenizer, passed, pinned. "pass" alone is a verb unless it comes last.
_NAME = re.compile(rf"(?:^|.*_)(?:(?:{_WORDS})\d*(?:$|_.*)|pass\d*$)", re.IGNORECASE | re.DOTALL)
# About the secret rather than the secret itself.
_ABOUT = re.compile(
    r"(?:^|_)(?:file|path|dir|filename|len|length|count|type|ttl|timeout|lock|expir\w*|policy|field|name"
    r"|class|cls|prompt|required|enabled|validators?|hasher|min|max|size|at)s?$",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W_]+")

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>[^\s\"'<>]*@)")
_PAIR = re.compile(
    rf"(?P<name>[\w-]*(?:{_WORDS})[\w-]*)(?P<equals>\\?[\"']?\s*(?:=|:)\s*)"
    r"(?P<value>\\?\"[^\"]*(?:\"|$)|'[^']*(?:'|$)|[^\s&;,)}\]\"']+)",
    re.IGNORECASE,
)
_AUTH_SCHEMES = ("bearer", "basic", "digest", "negotiate", "ntlm", "token", "apikey", "aws4-hmac-sha256")
_SCHEMES = re.compile(
    rf"\b(?P<scheme>{'|'.join(_AUTH_SCHEMES)})\s+"
    r"(?P<value>[A-Za-z0-9._~+/=-]{6,}(?:[^\"\n]*(?==))?)",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    r"eyJ[\w-]{8,}(?:\.[\w-]*){0,2}"  # JSON web token
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{12,}"  # AWS
    r"|\b(?:gh[oprsu]|github_pat|glpat|xox[abeoprs]|sk|pk|rk|whsec|hf|npm|pypi|dop_v1|shp(?:at|ss))[_-][\w-]{10,}"
    r"|\bAIza[\w-]{20,}|\bya29\.[\w-]{10,}"  # Google
    r"|-----BEGIN [A-Z ]*PRIVATE KEY.*"
    r"|\$(?:2[abxy]|5|6|1|y|argon2\w*|pbkdf2[\w-]*)\$[^\s\"]+",  # password hashes
    re.DOTALL,
)
# Long and random: digits, both cases; or hexadecimal. Not a UUID, not a path, not a number.
_RANDOM = re.compile(
    r"(?<![\w/+.-])(?:(?=[\w+/=-]*\d)(?=[\w+/=-]*[a-z])(?=[\w+/=-]*[A-Z])[A-Za-z0-9+_-][A-Za-z0-9+/_=-]{23,}"
    r"|(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{32,})(?![\w/+.-])"
)
_SQL = re.compile(
    r"^\W*(?:select|insert|update|delete|replace|merge|with|call|exec(?:ute)?|set|grant|create|alter|upsert"
    r"|values|copy|begin|explain)\b",
    re.IGNORECASE,
)
_SQL_TEXT = re.compile(r"\\\"(?:[^\"\\]|\\.(?<!\\\")|\"\")*\\\"|'(?:[^'\\]|\\.|'')*(?:'|$)")
_SQL_NUMBER = re.compile(r"(?<![\w.%$:@?])-?(?:0x[0-9a-f]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?)\b", re.IGNORECASE)
_ARGUMENTS = re.compile(r"^(?:args?|params?|parameters?|values?|vars?|binds?|row|rows|query_params)$")
_OBJECT = re.compile(r"^<[^<>]+ at 0x[0-9a-f]+>$")
_HARMLESS = ("", "None", "True", "False", "dict", "list", "tuple", "?")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether something of this name is likely to be a secret: ``db_password``, ``X-Api-Key``."""
    words = _CAMEL.sub("_", name).strip("_")
    return len(words) <= 64 and not _ABOUT.search(words) and bool(_NAME.match(words))


def text(value: str) -> str:
    """Mask the secrets inside any text, by their shape and by the names beside them."""
    value = _URL.sub(_url, value)
    value = _TOKENS.sub(MASK, value)
    value = _SCHEMES.sub(lambda match: f"{match['scheme']} {MASK}", value)
    value = _PAIR.sub(_pair, value)
    return _RANDOM.sub(MASK, value)


def _url(match: re.Match[str]) -> str:
    """Mask ``user:password`` in front of a host, whatever characters the password has."""
    rest = match["rest"]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        user, _, _ = authority.rpartition("@")
    elif re.search(r":(?!\d+(?:[/?#]|$))", authority):  # the password itself holds / ? or #
        user = rest.rpartition("@")[0]
    else:
        return match[0]
    name, colon, _ = user.partition(":")
    masked = f"{name}:{MASK}" if colon else (MASK if len(user) >= 16 else user)
    return f"{match['scheme']}{masked}{rest[len(user) :]}"


def _pair(match: re.Match[str]) -> str:
    value = match["value"]
    bare = value.strip("\\\"'")
    known = bare in (*_HARMLESS, MASK) or bare.lower() in _AUTH_SCHEMES
    if known or bare.startswith("=") or not is_secret_name(match["name"]):
        return match[0]  # "=": a comparison, token == x
    return f"{match['name']}{match['equals']}{_quoted(value)}"


def _quoted(value: str) -> str:
    quote = value[0] if value[:1] in ("'", '"') else ""
    return f"{quote}{MASK}{quote}"


@lru_cache(maxsize=16384)  # deep recursion shows the same variables in a thousand frames
def variable(name: str, value: str, *, sql_arguments: bool = False) -> str:
    """Mask one variable as py-spy shows it. ``sql_arguments``: it goes into a statement beside it."""
    if value in _HARMLESS or _OBJECT.match(value):
        return value
    if is_secret_name(name):
        return _quoted(value)
    if sql_arguments and _ARGUMENTS.match(name):
        return MASK
    if '"' not in value:  # nothing but numbers and addresses
        return value
    if is_sql(value):
        value = _SQL_NUMBER.sub("?", _SQL_TEXT.sub("?", value))
    return text(_keyed(value))


def is_sql(value: str) -> bool:
    """Whether a value is an SQL statement."""
    return value.startswith('"') and " " in value and bool(_SQL.match(value))


def _keyed(value: str) -> str:
    """Mask what follows a secret's name in a dictionary, a list of pairs or an argument vector."""
    out, at = [], 0
    for match in re.finditer(r"\"(?P<name>[^\"\\]{1,64})\"(?P<between>\s*[:,]\s*)", value):
        if match.start() < at or not is_secret_name(match["name"]):
            continue
        if match["between"].strip() == "," and not (
            _pairs_with(value, match) or match["name"].startswith("-")
        ):
            continue
        end = _end_of_value(value, match.end())
        found = value[match.end() : end]
        out.append(value[at : match.end()])
        out.append(found if found in _HARMLESS or _OBJECT.match(found) else _quoted(found))
        at = end
    return "".join((*out, value[at:]))


def _pairs_with(value: str, match: re.Match[str]) -> bool:
    """Whether the name is the first of a pair: ``("Authorization", …``."""
    return value[: match.start()].endswith(("(", "["))


def _end_of_value(value: str, start: int) -> int:
    """Find where a value ends: py-spy does not escape quotes within text, so the last likely quote counts."""
    if value[start : start + 1] == '"':
        closing = re.compile(r"\"(?=\s*[,)}\]]|$)").search(value, start + 1)
        return closing.end() if closing else len(value)
    depth = 0
    for at in range(start, len(value)):
        if value[at] in "([{":
            depth += 1
        elif value[at] in ")]}":
            depth -= 1
        if depth < 0 or (depth == 0 and value[at] == ","):
            return at
    return len(value)


def dump(data: bytes) -> bytes:
    """Mask the variables in the JSON of ``py-spy dump``; what can not be read as that is dropped."""
    try:
        threads = msgspec.json.decode(data)
        for thread in threads:
            for frame in thread["frames"]:
                _frame(frame)
    except (msgspec.DecodeError, KeyError, TypeError):
        return b""
    return msgspec.json.encode(threads)


def _frame(frame: dict[str, Any]) -> None:
    variables = frame.get("locals") or ()
    statement = any(is_sql(local["repr"] or "") for local in variables)
    for local in variables:
        local["repr"] = variable(local["name"], local["repr"] or "", sql_arguments=statement)


def arguments(data: bytes) -> bytes:
    """Mask a command line as /proc/PID/cmdline has it: NUL between the words."""
    words = data.split(b"\0")
    mysql = b"mysql" in words[0] or b"mariadb" in words[0]
    out: list[bytes] = []
    for word in words:
        before = out[-1].decode("utf-8", "surrogateescape") if out else ""
        if before.startswith("-") and "=" not in before and is_secret_name(before.lstrip("-")):
            out.append(MASK.encode() if word and not word.startswith(b"-") else word)
        elif mysql and word.startswith(b"-p") and len(word) > 2:
            out.append(b"-p" + MASK.encode())
        else:
            out.append(text(word.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape"))
    return b"\0".join(out)


_LITERAL = re.compile(
    rb"[=:]\s*[bruBRU]{0,2}(?P<quote>\"\"\"|\'\'\'|\"|')(?P<value>(?:(?!(?P=quote))[^\n\\]|\\.)+)(?P=quote)"
)
_BEFORE = re.compile(rb"(?P<name>[\w-]+)[\"']?\]?\s*(?::[\w\[\]|. ]+)?$")
_URL_PASSWORD = re.compile(rb"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@\"']*:)(?P<value>[^\s@\"']+)(?=@)")


def source(data: bytes) -> bytes:
    """Mask literals that a program's source gives a secret's name; every byte keeps its place."""
    data = _URL_PASSWORD.sub(lambda match: match["before"] + b"*" * len(match["value"]), data)
    return _LITERAL.sub(_literal, data)


def _literal(match: re.Match[bytes]) -> bytes:
    name = _BEFORE.search(match.string[max(0, match.start() - 80) : match.start()])
    if name is None or not is_secret_name(name["name"].decode("ascii", "replace")):
        return match[0]
    start, end = match.start("value") - match.start(), match.end("value") - match.start()
    return match[0][:start] + b"*" * (end - start) + match[0][end:]
