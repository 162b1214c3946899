"""Packages that only some commands need: extras of pyproject.toml."""

import importlib.util

from src.errors import UserError


def require(what: str, extra: str, *modules: str) -> None:
    """Refuse what needs packages that are not installed.

    what: the thing that needs them, as the user named it: `format=onnx`.
    extra: where pyproject.toml lists the packages.

    Raises:
        UserError: one of the modules cannot be found; names the extra.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{what}: {', '.join(missing)} not installed; install the extra: "
            f"uv pip install -r pyproject.toml --extra {extra}"
        )
