#!/usr/bin/env bash
# Starts the four programs, each in a terminal of its own, and stops them together.
# The first start makes .venv and installs the packages. See ./run_all.sh --help.
set -u
SELF=${BASH_SOURCE[0]}
# A link to this file alone: the repository is where it leads.
while [ -L "$SELF" ] && ! [ -e "$(dirname "$SELF")/scripts/venv.sh" ]; do
  link=$(readlink "$SELF")
  case $link in /*) SELF=$link ;; *) SELF=$(dirname "$SELF")/$link ;; esac
done
ROOT=$(cd "$(dirname "$SELF")" && pwd) || exit 1
. "$ROOT/scripts/venv.sh"
. "$ROOT/scripts/terminals.sh"

READY_WITHIN_S=60 # the first start of matplotlib builds its font cache
STOPPED_WITHIN_S=13 # a little longer than scripts/component.sh gives a program

help() {
  cat <<END
Starts the test bench: charger_module.py, csms.py, cp.py and plot_current.py; for an anomaly on the
CAN bus attack_can.py too.

usage: ./run_all.sh [options]
  --headless          all in this terminal; the plot is saved at the end
  --for SECONDS       end after this time (otherwise: Ctrl-C)
  --cycles N          play the anomaly N times (otherwise: for ever)
  --plant NAME        the charger's power module: ideal, dc, dc_slow or ac
  --port PORT         of the central system (9000)
  --id ID             of the charge point (CP_1)
  --anomaly NAME      play this anomaly of the catalogue once, with the program that it takes
  --severity LEVEL    of the anomaly: low, medium or high (medium)
  --parameter N=VALUE of the anomaly; may be given again
  --after SECONDS     from the beginning of the charging to the anomaly (20)
  --benign NAME       what goes on behind the anomaly, or alone (plain_session)
  --list              print the catalogue
  --record DIR        record the run, with its labels
  --can-interface NAME, --can-channel CHANNEL
                      the CAN bus (a bus on this machine of our own)
  --charger-channel CHANNEL
                      the charger's own, if the anomaly stands between it and the bus
  --log-level LEVEL   debug, info, warning or error
  --terminal NAME     instead of the first that is there: $TERMINALS
                      (none is --headless)
  --help

example: ./run_all.sh --headless --for 40
         ./run_all.sh --anomaly can_masquerade --record runs/masquerade

The first start makes .venv and installs the packages; EVSIM_PYTHON=/path/to/python uses that
interpreter instead. Closing one program's terminal stops all.
END
}

wrong() { # MESSAGE
  printf 'run_all.sh: %s (see ./run_all.sh --help)\n' "$1" >&2
  exit 2
}

whole_number() { # OPTION VALUE LEAST MOST
  case $2 in '' | *[!0-9]* | ?????????*) ;; *) [ "$((10#$2))" -ge "$3" ] && [ "$((10#$2))" -le "$4" ] && return ;; esac
  wrong "$1 takes a whole number from $3${4:+ to $4}, not '$2'"
}

# ── Command line ─────────────────────────────────────────────────────────────────────────────
TERMINAL='' RUN_FOR_S='' PORT=9000 LIST='' RECORD_DIR=''
for_charger=() for_csms=() for_cp=() for_attack=() for_all=() for_bus=() play=() for_charger_last=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) help; exit 0 ;;
    --headless) TERMINAL=none; shift; continue ;;
    --list) LIST=yes; shift; continue ;;
    --*=*) option=${1%%=*} value=${1#*=}; shift; set -- "$option" "$value" "$@"; continue ;;
    --for | --cycles | --plant | --port | --id | --can-interface | --can-channel | --log-level | --terminal) ;;
    --anomaly | --severity | --parameter | --after | --benign | --record | --charger-channel) ;;
    *) wrong "unknown argument '$1'" ;;
  esac
  [ $# -gt 1 ] || wrong "$1 needs a value"
  case $1 in
    --for) whole_number "$1" "$2" 1 99999999; RUN_FOR_S=$((10#$2)) ;;
    --cycles) whole_number "$1" "$2" 1 99999999; for_csms=("$1" "$2") ;;
    --port) whole_number "$1" "$2" 1 65535; PORT=$((10#$2)) ;;
    --plant) for_charger=("$1" "$2") for_cp=(${for_cp[@]+"${for_cp[@]}"} "$1" "$2") ;;
    --id) for_cp=(${for_cp[@]+"${for_cp[@]}"} "$1" "$2") play=(${play[@]+"${play[@]}"} "--target=$2") ;;
    --record)
      [ -n "$2" ] || wrong "$1 needs a directory"
      case $2 in /*) RECORD_DIR=$2 ;; *) RECORD_DIR=$PWD/$2 ;; esac
      play=(${play[@]+"${play[@]}"} "$1=$RECORD_DIR") ;;
    --anomaly | --severity | --parameter | --after | --benign | --charger-channel)
      play=(${play[@]+"${play[@]}"} "$1=$2") ;;
    --terminal)
      case " $TERMINALS " in *" $2 "*) ;; *) wrong "--terminal takes one of: $TERMINALS; not '$2'" ;; esac
      TERMINAL=$2 ;;
    --log-level) for_all=("$1" "$2") ;;
    *) for_bus=(${for_bus[@]+"${for_bus[@]}"} "$1" "$2") ;;
  esac
  shift 2
done
[ -n "$TERMINAL" ] || choose_terminal

# ── What runs ────────────────────────────────────────────────────────────────────────────────
script_of() {
  case $1 in
    attack) echo attack_can.py ;;
    charger) echo charger_module.py ;;
    csms) echo csms.py ;;
    cp) echo cp.py ;;
    plot) echo plot_current.py ;;
  esac
}

ready_line_of() { # each script prints its line once it can do its work
  case $1 in
    attack) echo 'Attacking the CAN bus' ;;
    charger) echo 'Listening for CAN commands' ;;
    csms) echo 'CSMS WebSocket server running on' ;;
    cp) echo 'Connected to CSMS' ;;
    plot) echo 'Plotting CAN frame 0x300' ;;
  esac
}

colour_of() {
  case $1 in charger) echo 33 ;; csms) echo 35 ;; cp) echo 36 ;; plot) echo 34 ;; attack) echo 31 ;; esac
}

label_of() { # before each line when all share this terminal
  if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    printf '\033[%sm%-7s |\033[0m ' "$(colour_of "$1")" "$1"
  else
    printf '%-7s | ' "$1"
  fi
}

write_command() { # NAME [ARGUMENT...]
  local name=$1 variable
  shift
  {
    printf 'cd %q\n' "$PWD"
    # A terminal's server may have been started long ago, from another environment.
    for variable in ${!CAN_@} ${!EVSIM_@} ${!MPL@} ${!PYTHON@} ${!XDG_@} NO_COLOR LANG LC_ALL \
      DISPLAY WAYLAND_DISPLAY XAUTHORITY; do
      [ -z "${!variable+set}" ] || printf 'export %s=%q\n' "$variable" "${!variable}"
    done
    printf 'command=('
    printf '%q ' "$PYTHON" -u "$ROOT/$(script_of "$name")" "$@"
    printf ')\n'
  } >"$RUN_DIR/$name.sh"
}

# ── Watching ─────────────────────────────────────────────────────────────────────────────────
STARTED=''

say() { printf '%s\n' "$*" 2>/dev/null; } # still quiet when this terminal has been closed

# Neither has ended nor is running: its terminal has not opened yet.
is_running() { # NAME
  [ ! -e "$RUN_DIR/$1.exit" ] && kill -0 "$(cat "$RUN_DIR/$1.wrapper" 2>/dev/null)" 2>/dev/null
}

has_ended() { # NAME
  [ -s "$RUN_DIR/$1.wrapper" ] && ! is_running "$1"
}

end() { # CODE [LINE...]: stops all and says the lines last, where they are seen
  trap '' INT TERM HUP PIPE
  local code=$1 name
  shift
  # The plot first: it shows the run, not its end. Then the charge point, which still needs the
  # others to end its transaction, and a gateway on the way to the charger too.
  for name in plot cp csms attack charger; do stop $name; done
  close_terminal
  [ -z "$VIEWER" ] || wait "$VIEWER" 2>/dev/null
  rm -rf "$RUN_DIR"
  [ -z "$PLOT_FILE" ] || [ ! -s "$PLOT_FILE" ] || say "Plot saved: $PLOT_FILE"
  if [ "$code" -eq 0 ] && [ -n "$ALL_READY" ] && [ -n "$PLOT_FILE" ] && [ ! -s "$PLOT_FILE" ]; then
    code=1
    set -- "run_all.sh: the plot could not be saved to $PLOT_FILE"
  fi
  finish_recording || [ "$code" -ne 0 ] || code=1
  if [ "$code" -eq 0 ]; then say "$@"; else printf '%s\n' "$@" >&2; fi
  exit "$code"
}

finish_recording() { # what the programs have recorded becomes a whole run
  [ -n "$RECORD_DIR" ] || return 0
  [ -e "$RECORD_DIR/can.log" ] || [ -e "$RECORD_DIR/ocpp.jsonl" ] || return 0
  (cd "$ROOT" && "$PYTHON" -m evsim.recording "$RECORD_DIR")
}

stop() { # NAME
  local tenths=0
  ! is_running "$1" || kill -TERM "$(cat "$RUN_DIR/$1.wrapper")" 2>/dev/null
  while is_running "$1" && [ $tenths -lt $((STOPPED_WITHIN_S * 10)) ]; do
    sleep 0.1
    tenths=$((tenths + 1))
  done
  [ ! -e "$RUN_DIR/$1.exit" ] || return
  # Its wrapper was killed or hangs, and nobody else ends the program.
  kill -KILL "$(cat "$RUN_DIR/$1.pid" 2>/dev/null)" "$(cat "$RUN_DIR/$1.wrapper" 2>/dev/null)" 2>/dev/null
}

end_because_of() { # NAME: it has ended by itself
  local script code
  script=$(script_of "$1")
  code=$(cat "$RUN_DIR/$1.exit" 2>/dev/null || echo 1)
  if [ "$code" = 0 ]; then end 0 "$script has ended, so all have been stopped."; fi
  end "$code" "run_all.sh: $script ended with exit code $code, so all have been stopped. Its last words:" \
    "$(tail -n 12 "$RUN_DIR/$1.log" 2>/dev/null | sed 's/^/  /')"
}

check_running() { # ends all if one of those that were started has ended
  local name
  for name in $STARTED; do ! has_ended "$name" || end_because_of "$name"; done
}

start() { # NAME
  local deadline_s=$((SECONDS + READY_WITHIN_S)) log="$RUN_DIR/$1.log" script
  script=$(script_of "$1")
  : >"$log"
  STARTED="$STARTED $1"
  open_window "$1" "$script" "$(label_of "$1")" || no_window "$script"
  until [ -s "$RUN_DIR/$1.wrapper" ]; do # the terminal takes its time
    if [ -n "$OPENER" ] && ! kill -0 "$OPENER" 2>/dev/null; then
      wait "$OPENER" || [ -s "$RUN_DIR/$1.wrapper" ] || no_window "$script"
    fi
    [ $SECONDS -lt $deadline_s ] || no_window "$script"
    sleep 0.1
    check_running
  done
  until grep -q "^$(ready_line_of "$1")" "$log" 2>/dev/null; do
    if [ $SECONDS -ge $deadline_s ]; then
      end 1 "run_all.sh: $script was not ready within $READY_WITHIN_S s. Its last words:" \
        "$(tail -n 12 "$log" | sed 's/^/  /')"
    fi
    check_running
    sleep 0.1
  done
  [ "$TERMINAL" = none ] || say "  $script: $(grep "^$(ready_line_of "$1")" "$log" | head -n 1)"
}

no_window() { # SCRIPT
  end 1 "run_all.sh: $TERMINAL opened no window for $1. Try ./run_all.sh --headless" \
    "$(sed 's/^/  /' "$RUN_DIR/terminal.log")"
}

watch() { # until the time is over
  local deadline_s=$((SECONDS + ${RUN_FOR_S:-0}))
  while [ -z "$RUN_FOR_S" ] || [ $SECONDS -lt $deadline_s ]; do
    check_running
    if [ -n "$VIEWER" ] && ! kill -0 "$VIEWER" 2>/dev/null; then
      VIEWER=''
      say "The programs go on. Ctrl-C stops them; to see them again: tmux -S $RUN_DIR/tmux attach"
    fi
    sleep 0.2
  done
}

# ── The launch ───────────────────────────────────────────────────────────────────────────────
set_up requirements.txt

if [ -n "$LIST" ]; then exec "$PYTHON" "$ROOT/csms.py" --list; fi

# Who plays, and who gets which options with it: a line for each word.
if [ ${#play[@]} -gt 0 ]; then
  words=$(cd "$ROOT" && "$PYTHON" -m evsim.live.cast "${play[@]}" ${for_bus[@]+"${for_bus[@]}"}) || exit
  while read -r component word; do
    case $component in
      charger) for_charger_last=(${for_charger_last[@]+"${for_charger_last[@]}"} "$word") ;;
      csms) for_csms=(${for_csms[@]+"${for_csms[@]}"} "$word") ;;
      cp) for_cp=(${for_cp[@]+"${for_cp[@]}"} "$word") ;;
      attack) for_attack=(${for_attack[@]+"${for_attack[@]}"} "$word") ;;
    esac
  done <<END
$words
END
fi

# Before anything starts: a second charger on the same bus would disturb the first launch.
if ! "$PYTHON" -S -c 'import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))' "$PORT" 2>/dev/null; then
  complain "port $PORT on 127.0.0.1 is in use, perhaps by another ./run_all.sh. Stop that one, or" \
    "give this one a port, a bus and a charge point of its own:" \
    "./run_all.sh --port $((PORT % 65535 + 1)) --can-channel 239.74.163.3 --id CP_2"
  exit 1
fi

VIEWER='' PLOT_FILE='' ALL_READY=''
RUN_DIR=$(mktemp -d "${TMPDIR:-/tmp}/ev_anomaly.XXXXXX") || exit 1
trap 'end 0 "Stopped."' INT TERM HUP
echo $$ >"$RUN_DIR/launcher.pid"

for_plot=()
if [ "$TERMINAL" = none ] || ! has_display; then
  folder=$PWD
  [ -w "$folder" ] || folder=${TMPDIR:-/tmp}
  PLOT_FILE="$folder/ev_anomaly_$(date +%Y-%m-%d_%H%M%S).png"
  for_plot=(--web --save "$PLOT_FILE")
fi
for_bus=(${for_all[@]+"${for_all[@]}"} ${for_bus[@]+"${for_bus[@]}"}) # csms.py has no bus
write_command charger ${for_charger[@]+"${for_charger[@]}"} ${for_bus[@]+"${for_bus[@]}"} \
  ${for_charger_last[@]+"${for_charger_last[@]}"} # its own bus, if any, comes last and counts
write_command csms --port "$PORT" ${for_csms[@]+"${for_csms[@]}"} ${for_all[@]+"${for_all[@]}"}
write_command cp --url "ws://127.0.0.1:$PORT" ${for_cp[@]+"${for_cp[@]}"} ${for_bus[@]+"${for_bus[@]}"}
write_command plot ${for_plot[@]+"${for_plot[@]}"} ${for_bus[@]+"${for_bus[@]}"}

COMPONENTS='charger csms cp plot' COUNT=four
if [ ${#for_attack[@]} -gt 0 ]; then
  write_command attack ${for_attack[@]+"${for_attack[@]}"} ${for_bus[@]+"${for_bus[@]}"}
  COMPONENTS='charger attack csms cp plot' COUNT=five # a gateway must be there for cp.py
fi

case $TERMINAL in
  none) say "Starting $COUNT programs here. Ctrl-C stops them; the plot is saved at the end." ;;
  tmux) say "Starting $COUNT programs, each in a tmux pane:" ;;
  macos) say "Starting $COUNT programs, each in a tab of Terminal:" ;;
  *) say "Starting $COUNT programs, each in a window of $TERMINAL:" ;;
esac
for component in $COMPONENTS; do start "$component"; done
ALL_READY=yes
if [ "$TERMINAL" = tmux ] && [ -z "${TMUX:-}" ] && [ -t 0 ]; then
  in_tmux attach <>"$(tty)" & # both ways: tmux draws on its standard input
  VIEWER=$!
elif [ "$TERMINAL" != none ]; then
  say "All are running. Ctrl-C here${RUN_FOR_S:+, $RUN_FOR_S s} or closing one of them stops all."
fi
watch
end 0 "Ended after $RUN_FOR_S s."
