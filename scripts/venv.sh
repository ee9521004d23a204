# shellcheck shell=bash
# Sourced by run_all.sh and run_tests.sh: `set_up FILE` leaves in $PYTHON an interpreter that has
# the packages of FILE, made in .venv if need be. Works with bash 3.2, which macOS ships.
#
# A stamp in .venv says what was installed, where. It is written only after a success, so whatever
# was interrupted is done again, and it names the directory, since a moved .venv is broken.
# EVSIM_PYTHON=/path/to/python uses that interpreter instead and installs nothing.

VENV="$ROOT/.venv"

complain() { # LINE...
  printf '%s: %s\n' "$(basename "$0")" "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
}

new_enough() { # PYTHON
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_base_python() {
  local candidate found=''
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    command -v "$candidate" >/dev/null || continue
    if new_enough "$candidate"; then
      BASE_PYTHON=$candidate
      return 0
    fi
    found="$found$candidate is $("$candidate" -c \
      'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo broken). "
  done
  complain "Python 3.11 or newer is needed. ${found:-There is no python3 here.}" \
    "macOS: brew install python, or the installer from https://www.python.org/downloads/" \
    "Debian, Ubuntu: sudo apt install python3 python3-venv (a release that has 3.11 or newer)" \
    "Then start this again."
  exit 1
}

make_venv() {
  local words version
  find_base_python
  version=$("$BASE_PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  if ! "$BASE_PYTHON" -c 'import venv, ensurepip' 2>/dev/null; then
    complain "$BASE_PYTHON has no venv module, which makes the virtual environment." \
      "Debian, Ubuntu: sudo apt install $version-venv" "Then start this again."
    exit 1
  fi
  echo "Making a virtual environment in .venv with $BASE_PYTHON ($version)"
  if ! words=$("$BASE_PYTHON" -m venv --clear "$VENV" 2>&1); then
    complain "could not make the virtual environment $VENV:" "$words"
    exit 1
  fi
}

# Shows pip's progress on one line that changes on a terminal, else only keeps the log.
show_progress() { # LOG
  local line count=0
  : >"$1"
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$1"
    case $line in
      Collecting*) count=$((count + 1)); line="package $count: ${line#Collecting }" ;;
      'Installing collected'*) line="unpacking $count packages" ;;
      'Building editable'*) line="ev-anomaly-sim itself" ;;
      *) continue ;;
    esac
    # \033[K clears what a longer line left behind.
    [ ! -t 1 ] || printf '\r  %.70s\033[K' "${line%% (from*}"
  done
  [ ! -t 1 ] || printf '\r\033[K'
}

install() { # REQUIREMENTS
  local log="$VENV/install.log"
  echo "Installing what $1 names (a minute or so; only this once)"
  set -o pipefail
  if ! (cd "$ROOT" && "$VENV/bin/python" -m pip install --disable-pip-version-check \
    --retries 2 -r "$1") 2>&1 | show_progress "$log"; then
    complain "the packages could not be installed. pip says:" \
      "$({ grep ERROR: "$log" || cat "$log"; } | tail -n 1 | sed 's/^ *//')" \
      "Is this machine on the network, and does it reach https://pypi.org?" \
      "(Behind a proxy: export https_proxy=http://HOST:PORT.) Then start this again." \
      "All that pip said: $log"
    exit 1
  fi
  echo "Installed."
}

fingerprint() { # FILE...
  printf '%s\n' "$ROOT"
  (cd "$ROOT" && cksum pyproject.toml "$@")
}

set_up() { # REQUIREMENTS: requirements.txt or requirements-dev.txt
  PYTHON="${EVSIM_PYTHON:-$VENV/bin/python}"
  if [ -n "${EVSIM_PYTHON:-}" ]; then
    new_enough "$PYTHON" && return 0
    complain "EVSIM_PYTHON=$EVSIM_PYTHON is not a Python 3.11 or newer"
    exit 1
  fi
  local run_print dev_print wanted stamp="$VENV/installed-$1" at_home=''
  run_print=$(fingerprint requirements.txt)
  dev_print=$(fingerprint requirements.txt requirements-dev.txt)
  wanted=$run_print
  [ "$1" = requirements.txt ] || wanted=$dev_print
  if new_enough "$PYTHON"; then
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    # Made here? Its own activate script knows, whoever made it.
    ! grep -qF "$VENV" "$VENV/bin/activate" 2>/dev/null || at_home=yes
  fi

  trap 'echo; complain "stopped; the next start begins the set-up again"; exit 130' INT TERM
  if [ -z "$at_home" ] || ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
    make_venv
  fi
  rm -f "$VENV"/installed-*
  install "$1"
  printf '%s\n' "$run_print" >"$VENV/installed-requirements.txt"
  [ "$1" = requirements.txt ] || printf '%s\n' "$dev_print" >"$stamp"
  trap - INT TERM
}
