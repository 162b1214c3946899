"""Components of a configuration as objects."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from src.errors import UsageError, UserError

# What constructors raise for arguments that they cannot use.
NONSENSE = (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, AssertionError, AttributeError)


def build(node: Any, **arguments: Any) -> Any:
    """Instantiate a `_target_` node.

    Raises:
        UserError: a constructor refused its arguments (its own one-line reason).
    """
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, NONSENSE):
            name = str(node.get("_target_")).rpartition(".")[2]
            raise refusal(name, cause) from cause
        raise


def refusal(what: str, error: BaseException) -> UsageError:
    """One line for arguments that a constructor refused, or stumbled over."""
    reason = " ".join(str(error).split())[:300]
    own = isinstance(error, ValueError)  # says what is wrong; others are raised deep inside
    return UsageError(f"{what}: {reason}" if own else f"{what}: cannot be built with these options ({reason})")
