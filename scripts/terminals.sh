# shellcheck shell=bash disable=SC2034,SC2153 # run_all.sh sets TERMINAL, COMPONENTS; reads OPENER
# Sourced by run_all.sh: how each terminal opens a window for a component. What runs in it,
# scripts/component.sh, is the same everywhere. "none" is the launcher's own terminal.

TERMINALS='macos gnome-terminal konsole xfce4-terminal xterm tmux none'
TMUX_WINDOW='' PANES=''
WINDOWS=0

has_display() {
  [ "$(uname)" = Darwin ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]
}

choose_terminal() { # sets TERMINAL
  local candidate
  if [ "$(uname)" = Darwin ]; then
    TERMINAL=macos
    return
  fi
  if has_display; then
    for candidate in gnome-terminal konsole xfce4-terminal xterm; do
      if command -v $candidate >/dev/null; then
        TERMINAL=$candidate
        return
      fi
    done
  fi
  TERMINAL=none
  if [ -t 0 ] && [ -t 1 ] && command -v tmux >/dev/null; then TERMINAL=tmux; fi
}

# In single quotes, which sh, bash, zsh and fish read alike.
quoted() { # WORD...
  local word escape="s/'/'\\\\''/g"
  for word in "$@"; do
    word=$(printf '%s' "$word" | sed "$escape")
    printf "'%s' " "$word"
  done
}

# Runs component.sh for NAME. Sets OPENER to the pid of what stays while the window opens, if any.
open_window() { # NAME TITLE LABEL
  local title=$2 label=$3
  set -- "$BASH" "$ROOT/scripts/component.sh" "$RUN_DIR" "$1"
  OPENER=''
  WINDOWS=$((WINDOWS + 1))
  # Without job control, Ctrl-C here would reach the windows too, before their clean-up.
  set -m
  case $TERMINAL in
    none) "$@" "$label" </dev/null & ;;
    macos) open_macos_tab "$@" ;;
    tmux) open_tmux_pane "$title" "$@" ;;
    gnome-terminal) gnome-terminal --title="$title" -- "$@" & ;;
    konsole) konsole --separate -p tabtitle="$title" -e "$@" & ;;
    xfce4-terminal) xfce4-terminal --disable-server --title="$title" -x "$@" & ;;
    xterm) xterm -T "$title" -geometry "80x20$(place_of_window)" -e "$@" & ;;
  esac 2>"$RUN_DIR/terminal.log"
  local status=$?
  case $TERMINAL in macos | tmux) ;; *) OPENER=$! ;; esac
  set +m
  return $status
}

# xterms without a window manager would all lie in the same corner.
place_of_window() {
  case $WINDOWS in 1) echo +0+0 ;; 2) echo +500+0 ;; 3) echo +0+300 ;; 4) echo +500+300 ;;
    *) echo +250+150 ;;
  esac
}

open_macos_tab() { # COMMAND...
  local first=''
  [ $WINDOWS -gt 1 ] || first=first
  osascript "$ROOT/scripts/open_tab.applescript" "exec $(quoted "$@")" $first >/dev/null
}

in_tmux() { # the tmux we are in, else a server of our own
  if [ -n "${TMUX:-}" ]; then tmux "$@"; else tmux -S "$RUN_DIR/tmux" "$@"; fi
}

# All panes at once, with a place-holder each: output that is there already is not re-wrapped.
open_tmux_window() {
  local pane placeholder='exec sleep 300'
  local new=(-P -F '#{pane_id}' -n ev-anomaly "$placeholder")
  if [ -n "${TMUX:-}" ]; then
    pane=$(tmux new-window "${new[@]}") || return
  else
    # As large as the terminal that will show it.
    pane=$(in_tmux new-session -d -x "$(tput cols)" -y "$(tput lines)" "${new[@]}") || return
  fi
  TMUX_WINDOW=$(in_tmux display-message -p -t "$pane" '#{window_id}')
  in_tmux set-option -w -t "$TMUX_WINDOW" pane-border-status top
  in_tmux set-option -w -t "$TMUX_WINDOW" pane-border-format ' #{pane_title} (Ctrl-C stops all) '
  in_tmux set-option -w -t "$TMUX_WINDOW" remain-on-exit off
  # shellcheck disable=SC2086 # one word a component; the first has its pane
  set -- $COMPONENTS
  for _ in "${@:2}"; do
    in_tmux split-window -d -t "$TMUX_WINDOW" "$placeholder" || return
    in_tmux select-layout -t "$TMUX_WINDOW" tiled >/dev/null
  done
  PANES=$(in_tmux list-panes -t "$TMUX_WINDOW" -F '#{pane_id}')
}

open_tmux_pane() { # TITLE COMMAND...
  local title=$1 pane
  shift
  [ -n "$TMUX_WINDOW" ] || open_tmux_window || return
  pane=$(printf '%s\n' "$PANES" | sed -n "${WINDOWS}p")
  in_tmux respawn-pane -k -t "$pane" "exec $(quoted "$@")" || return
  in_tmux select-pane -t "$pane" -T "$title" || true # titles: since tmux 2.6
}

close_terminal() {
  if [ -n "$TMUX_WINDOW" ]; then
    if [ -n "${TMUX:-}" ]; then
      tmux kill-window -t "$TMUX_WINDOW"
    else
      in_tmux kill-server
    fi
  fi 2>/dev/null
}
