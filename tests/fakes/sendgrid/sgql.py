"""The part of SendGrid's query language that searches for contacts need (facts 2.1).

Conditions with AND, OR, NOT and parentheses: `= != < > <= >=`, LIKE, IN, BETWEEN, IS [NOT] NULL,
CONTAINS(list_ids, '…'), LOWER(…).
Text compares with regard to letter case, so a query that is to find an address has it in lower case.
"""

import operator
import re
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
Value = Callable[[Row], Any]
Condition = Callable[[Row], bool]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<name>`[^`]+`|[A-Za-z_][\w.]*)
      | (?P<sign><=|>=|!=|<>|[=<>(),])
    )""",
    re.VERBOSE,
)
_COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def matcher(query: str) -> Condition:
    """What says whether the query finds a contact, given as a row: the fields it has, and its `custom_fields`.

    Raises:
        ValueError: it is not understood.
    """
    parser = _Parser(query)
    condition = parser.any_of()
    parser.end()
    return condition


def _tokens(query: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    query = query.rstrip()
    while position < len(query):
        match = _TOKEN.match(query, position)
        if match is None:
            raise ValueError(f"unexpected {query[position : position + 20].strip()!r}")
        assert match.lastgroup
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


class _Parser:
    """By recursive descent: OR binds less than AND, AND less than NOT."""

    def __init__(self, query: str) -> None:
        self._tokens = _tokens(query)
        self._at = 0

    def any_of(self) -> Condition:
        parts = [self._all_of()]
        while self._takes("OR"):
            parts.append(self._all_of())
        return lambda row: any(part(row) for part in parts)

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise ValueError(f"unexpected {self._tokens[self._at][1]!r}")

    def _all_of(self) -> Condition:
        parts = [self._negated()]
        while self._takes("AND"):
            parts.append(self._negated())
        return lambda row: all(part(row) for part in parts)

    def _negated(self) -> Condition:
        if self._takes("NOT"):
            inner = self._negated()
            return lambda row: not inner(row)
        if self._takes("("):
            inner = self.any_of()
            self._expect(")")
            return inner
        if self._takes("CONTAINS"):
            self._expect("(")
            where = self._value()
            self._expect(",")
            what = self._value()
            self._expect(")")
            return lambda row: what(row) in where(row)
        return self._comparison()

    def _comparison(self) -> Condition:
        left = self._value()
        if self._takes("IS"):
            is_negated = self._takes("NOT")
            self._expect("NULL")
            return lambda row: (left(row) in (None, "", [])) != is_negated
        is_negated = self._takes("NOT")
        condition = self._tested(left)
        return (lambda row: not condition(row)) if is_negated else condition

    def _tested(self, left: Value) -> Condition:
        if self._takes("IN"):
            self._expect("(")
            choices = [self._value()]
            while self._takes(","):
                choices.append(self._value())
            self._expect(")")
            return lambda row: left(row) in [choice(row) for choice in choices]
        if self._takes("LIKE"):
            like = self._value()
            return lambda row: _like(left(row), like(row))
        if self._takes("BETWEEN"):
            least = self._value()
            self._expect("AND")
            most = self._value()
            return lambda row: left(row) is not None and least(row) <= left(row) <= most(row)
        for sign, compare in _COMPARE.items():
            if self._takes(sign):
                right = self._value()
                return lambda row: left(row) is not None and bool(compare(left(row), right(row)))
        raise ValueError("a condition is not complete")

    def _value(self) -> Value:
        if self._takes("LOWER"):
            self._expect("(")
            inner = self._value()
            self._expect(")")
            return lambda row: str(inner(row)).lower()
        if self._at == len(self._tokens):
            raise ValueError("unexpected end")
        kind, token = self._tokens[self._at]
        self._at += 1
        match kind:
            case "text":
                text = re.sub(r"\\(.)", r"\1", token[1:-1])
                return lambda _: text
            case "number":
                number = float(token)
                return lambda _: number
            case "name":
                name = token.strip("`")
                return lambda row: row[name] if name in row else row["custom_fields"].get(name)
        raise ValueError(f"unexpected {token!r}")

    def _takes(self, word: str) -> bool:
        kind, token = self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")
        if kind not in {"name", "sign"} or token.upper() != word:
            return False
        self._at += 1
        return True

    def _expect(self, word: str) -> None:
        if not self._takes(word):
            raise ValueError(f"expected {word}")


def _like(value: Any, pattern: str) -> bool:
    parts = [re.escape(part) for part in pattern.split("%")]
    return isinstance(value, str) and re.fullmatch(".*".join(parts), value, re.DOTALL) is not None
