"""What the user who only reads must not say, though ClickHouse would let a reader say it.

ClickHouse's own rights (`access`) stop writing and most table functions that name a file, a host or a program. Made
for the command line, though, the embedded engine also lets anyone read any file: by the function `file`, by settings
that hold a path (`format_template_row`) or an expression (`additional_result_filter`). Those are looked for here.

Looked at is the statement as the engine itself writes it after parsing (`Connection.canonical`), so no way of quoting,
spacing or commenting hides a name.
"""

from collections.abc import Iterator
from typing import NamedTuple

from connectors.embedded.engine.statement import Token, tokens

# Every other table function of the engine leads out, or is too new to be known here.
_INWARD_TABLE_FUNCTIONS = frozenset(
    {
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generaterandom", "generateseries"),
        *("generate_series", "values", "sqlstandardvalues", "null", "format", "view", "viewexplain"),
        *("viewifpermitted", "merge", "dictionary"),
    }
)
_OUTWARD_FUNCTIONS = frozenset({"file", "hascolumnintable"})  # the second takes the name of a host
# Of the settings that hold text, those whose text is neither a path nor SQL.
_PLAIN_TEXT_SETTINGS = frozenset(
    {
        *("log_comment", "query_cache_tag", "format_csv_null_representation", "format_tsv_null_representation"),
        *("bool_true_representation", "bool_false_representation", "output_format_pretty_grid_charset"),
        *("format_custom_field_delimiter", "format_custom_row_between_delimiter"),
        *("format_custom_row_before_delimiter", "format_custom_row_after_delimiter"),
        *("format_custom_result_before_delimiter", "format_custom_result_after_delimiter"),
    }
)
_READING = (b"SELECT", b"WITH", b"SHOW", b"DESCRIBE", b"EXPLAIN", b"EXISTS", b"CHECK")


class Doors(NamedTuple):
    """The names that lead out of the data, in lower case."""

    table_functions: frozenset[str]
    functions: frozenset[str]
    settings: frozenset[str]

    @classmethod
    def among(cls, table_functions: set[str], ai_functions: set[str], text_settings: set[str]) -> "Doors":
        """Tell them from the harmless ones.

        Args:
            table_functions: All that the engine has.
            ai_functions: Those that call a language model.
            text_settings: All settings of the engine that hold text.
        """
        return cls(
            frozenset(name.lower() for name in table_functions) - _INWARD_TABLE_FUNCTIONS,
            frozenset(name.lower() for name in ai_functions) | _OUTWARD_FUNCTIONS,
            frozenset(name.lower() for name in text_settings) - _PLAIN_TEXT_SETTINGS,
        )

    def setting(self, name: str) -> bool:
        """Whether a setting given in the URL leads out."""
        return name.lower() in self.settings

    def used_in(self, canonical: bytes) -> str | None:
        """The first of them that a statement uses, None if there is none.

        A function counts wherever its name stands, since `arrayMap(file, …)` and `* APPLY file` call it too; a table
        function where it is called; a setting where one is set.
        """
        found = list(tokens(canonical))
        sets = bool(found) and found[0].says(b"SET")
        texts = [b"", *(token.text for token in found), b""]
        for token, before, after in zip(found, texts, texts[2:], strict=False):
            name = (token.named() or "").lower()
            sets = sets or token.text == b"SETTINGS"
            if (
                (name in self.functions and before != b".")
                or (name in self.table_functions and after == b"(")
                or (name in self.settings and after == b"=" and sets)
            ):
                return name
        return None


def permits(canonical: bytes, outfile: str | None) -> bool:
    """Whether a statement only reads, or changes only its session (USE and SET, but not SET ROLE and the like).

    Args:
        canonical: The statement.
        outfile: The file that it must write; None if it must write none.
    """
    found = list(tokens(canonical))
    files = [c.text for a, b, c in _triples(found) if a.says(b"INTO") and b.says(b"OUTFILE")]
    if files != ([f"'{outfile}'".encode()] if outfile else []) or not found:
        return False
    if found[0].says(b"SET"):
        return len(found) > 1 and not found[1].says(b"ROLE", b"DEFAULT", b"TRANSACTION")
    return found[0].says(*_READING, b"USE") or found[0].text == b"("


def _triples(found: list[Token]) -> Iterator[tuple[Token, Token, Token]]:
    return zip(found, found[1:], found[2:], strict=False)
