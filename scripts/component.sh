#!/usr/bin/env bash
# Runs one program for run_all.sh, in whatever terminal run_all.sh opened for it.
#   component.sh RUN_DIR NAME [LABEL]
# RUN_DIR, private to one launch, is how the two speak:
#   launcher.pid   the launcher; when it dies, this ends too
#   NAME.sh        sets `command`, and the environment that a terminal's own server would lose
#   NAME.log       what the program printed; shown here as well, each line after LABEL
#   NAME.wrapper   this process; SIGTERM to it, Ctrl-C here or closing the terminal end the program
#   NAME.pid       the program
#   NAME.exit      the program's exit code, once it has ended
set -u
run_dir=$1 name=$2 label=${3:-}
GRACE_TENTHS=100 # for a program to end by itself after SIGTERM: cp.py ends its transaction

stopping=''
trap 'stopping=yes' INT TERM HUP
# A launch that was stopped before this terminal opened has left nothing to run.
echo $$ 2>/dev/null >"$run_dir/$name.wrapper" || exit 0
launcher=$(cat "$run_dir/launcher.pid") || exit 0
command=()
# shellcheck source=/dev/null
. "$run_dir/$name.sh" || exit 0
# The program writes to a pipe, but a terminal shows it.
if [ -t 1 ]; then export FORCE_COLOR=1; fi

# Reads to the end of the output whatever happens here: the last words matter most.
relay() {
  trap '' INT TERM HUP PIPE
  local line lines=0 shown=yes
  while IFS= read -r line || [ -n "$line" ]; do
    printf '%s\n' "$line" >>"$run_dir/$name.log"
    if [ -n "$shown" ] && ! printf '%s%s\n' "$label" "$line"; then
      shown='' # nobody reads any more: the terminal is gone
      kill -TERM $$
    fi
    lines=$((lines + 1))
    if [ $((lines % 5000)) -eq 0 ]; then # weeks of running must not fill the disk
      tail -n 100 "$run_dir/$name.log" >"$run_dir/$name.tail"
      mv "$run_dir/$name.tail" "$run_dir/$name.log"
    fi
  done 2>/dev/null
}

stop_program() {
  local tenths=0
  kill -TERM "$program" 2>/dev/null
  while kill -0 "$program" 2>/dev/null; do
    if [ $tenths -ge $GRACE_TENTHS ]; then
      kill -KILL "$program" 2>/dev/null
      break
    fi
    sleep 0.1
    tenths=$((tenths + 1))
  done
}

mkfifo "$run_dir/$name.pipe" || exit 0
relay <"$run_dir/$name.pipe" &
relay=$!
# A process group of its own, so that Ctrl-C and a closed terminal reach the program only through
# us, as one SIGTERM: a second signal would cut its clean-up short.
set -m
"${command[@]}" </dev/null >"$run_dir/$name.pipe" 2>&1 &
program=$!
set +m
echo $program >"$run_dir/$name.pid"

while kill -0 $program 2>/dev/null; do
  if [ -n "$stopping" ] || ! kill -0 "$launcher" 2>/dev/null; then
    stop_program
    break
  fi
  sleep 0.2 &
  wait $! # unlike a sleep in the foreground, a signal ends it at once
done
wait $program 2>/dev/null
code=$?
wait $relay
# Renamed into place, so that nobody reads it half-written.
{ echo $code >"$run_dir/$name.code" && mv "$run_dir/$name.code" "$run_dir/$name.exit"; } 2>/dev/null
kill -0 "$launcher" 2>/dev/null || rm -rf "$run_dir" # which the launcher would have done
