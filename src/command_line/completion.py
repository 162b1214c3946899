"""Shell completion of `python -m src.train`, which Hydra's own script does not know: it completes script files."""

from collections.abc import Sequence

from src.errors import UsageError

FLAGS = ("--shell-completion", "-sc")
INSTALL, UNINSTALL = "install=bash", "uninstall=bash"

# The program is asked with the line from `src.train` on.
SCRIPT = """_late_temporal()
{
    local module="${COMP_WORDS[2]}"
    [[ "${COMP_WORDS[1]}" == -m && "$module" =~ ^src[.](train|prepare|features)$ ]] || return
    local line="$module${COMP_LINE#*"$module"}"
    local choices="$(COMP_LINE="$line" "${COMP_WORDS[0]}" -m "$module" -sc query=bash 2>/dev/null)"
    COMPREPLY=($(compgen -W "$choices" -- "${COMP_WORDS[COMP_CWORD]}"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _late_temporal python python3 .venv/bin/python"""


def completion_script(words: Sequence[str]) -> str | None:
    """What a shell has to read for completion, where the words ask for it.

    Raises:
        UsageError: for another shell.
    """
    if not set(FLAGS) & set(words):
        return None
    if INSTALL in words:
        return SCRIPT
    if UNINSTALL in words:
        return "complete -r python python3 .venv/bin/python; unset -f _late_temporal"
    if not any(word.startswith("query=") for word in words):
        raise UsageError(
            f'shell completion: type eval "$(python -m src.train -sc {INSTALL})"; zsh reads it after bashcompinit'
        )
    return None
