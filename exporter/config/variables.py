"""`${NAME}` in a value of the configuration file: the environment's variable of that name. `$$` is one dollar sign.

The file is parsed first, so a variable gives one value, whatever characters it has: a text; or a number, true or false
where the key takes that.
"""

import re
from collections.abc import Mapping

from exporter.config.checks import InvalidValue

DOLLAR = re.compile(r"\$(?:\$|\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?)")
PATTERN = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"  # of a value with a variable in it, for the JSON Schema


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with its variables replaced. Raises InvalidValue for one that is unset or empty."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name = match[1]
        if name is None:
            remedy = "Write ${NAME} with letters, digits and underscores, or $$ for a dollar sign"
            raise InvalidValue("${ begins no variable", remedy)
        if not environ.get(name):
            problem = "is empty" if name in environ else "is not set"
            raise InvalidValue(f"the environment variable {name} {problem}", f"Set {name}, or write the value here")
        return environ[name]

    return DOLLAR.sub(value, text)
