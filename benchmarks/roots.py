"""Where a benchmark file's data lies: variables, the home folder, relative paths."""

from __future__ import annotations

import os
import re
from pathlib import Path

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|(?P<plain>\w+))")


def resolve_root(text: str, folder: Path | None) -> Path:
    """Expand `$VAR`, `${VAR}`, `${VAR:-default}` and `~`; relative paths are relative to `folder`.

    With `folder=None` a relative path is returned as it is. As in a shell, the default of `:-` is
    taken where the variable is unset or empty.

    Raises ValueError for an unset variable without a default, or what is no path.
    """

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        found = os.environ.get(name)
        if match["default"] is not None:
            return found or match["default"]
        if found is None:
            raise ValueError(
                f"the environment variable {name} is not set (in {text!r}); "
                f"set it, or give a default as ${{{name}:-path}}"
            )
        return found

    expanded = _VARIABLE.sub(value, text)
    if "\0" in expanded:
        raise ValueError(f"{text!r} is no path: it holds a NUL character")
    try:
        path = Path(expanded).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text!r} names a user without a home folder") from error
    if path.is_absolute() or folder is None:
        return path
    return folder / path
