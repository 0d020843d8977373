# shellcheck shell=bash
# Helpers shared by the scripts of this folder; source it, do not run it.
#
# Results go to standard output, everything meant for a person to standard
# error, so that `socket=$(scripts/engine start docker)` keeps working.

# Where the scripts note what they started, and keep logs of long steps.
AUTOODOO_RUN_DIR=${AUTOODOO_RUN_DIR:-/run/autoodoo-test}
# Seconds between two lines of progress where no terminal shows a counter.
AUTOODOO_HEARTBEAT=${AUTOODOO_HEARTBEAT:-20}
# Names of the engines we know, in the order in which they are tried.
# shellcheck disable=SC2034  # read by the scripts that source this file
ENGINES=(docker podman)

say() { printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { ((EUID == 0)); }
systemd_runs() { [[ -d /run/systemd/system ]]; }

# die MESSAGE [HINT...]: ends with status 1; hints say what to do about it.
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  local hint
  for hint in "$@"; do printf '  hint: %s\n' "$hint" >&2; done
  exit 1
}

# usage_error MESSAGE: status 2, as the program itself does for bad usage.
usage_error() {
  printf 'error: %s\n' "$1" >&2
  printf '  hint: %s --help\n' "$0" >&2
  exit 2
}

# Prints the comment block at the top of the calling script as its help.
print_help() {
  sed -n '2,/^[^#]/{ /^#/!q; s/^# \{0,1\}//; p; }' "$1"
}

# as_root COMMAND...: runs it as root, by sudo when we are someone else.
as_root() {
  if is_root; then
    "$@"
  elif have sudo; then
    sudo -- "$@"
  else
    die "'$1' needs root" "run the script as root, or install sudo"
  fi
}

# require_root "$@": starts the calling script again as root when it is not.
# PATH and the AUTOODOO_ settings come along, or the child would look for
# tools in sudo's secure path and for state in other folders.
require_root() {
  is_root && return
  have sudo || die "$(basename "$0") needs root" "run it as root, or install sudo"
  local settings
  mapfile -t settings < <(env | grep '^AUTOODOO_' || true)
  exec sudo -- env "PATH=$PATH" "${settings[@]}" "$(readlink -f "$0")" "$@"
}

duration() {
  local seconds=$1
  if ((seconds < 60)); then
    printf '%d s' "$seconds"
  else
    printf '%d min %02d s' $((seconds / 60)) $((seconds % 60))
  fi
}

# show_progress PID LABEL: until PID ends, a counter on a terminal, or now and
# then a line where there is none, so that nobody takes a long step for a hang.
show_progress() {
  local pid=$1 label=$2 started=$SECONDS spoken=$SECONDS
  while kill -0 "$pid" 2>/dev/null; do
    if [[ -t 2 ]]; then
      printf '\r  %s … %s ' "$label" "$(duration $((SECONDS - started)))" >&2
    elif ((SECONDS - spoken >= AUTOODOO_HEARTBEAT)); then
      say "  … $label: $(duration $((SECONDS - started))) so far"
      spoken=$SECONDS
    fi
    sleep 0.2
  done
  [[ ! -t 2 ]] || printf '\r\033[K' >&2
}

# The process group of the long step that runs now, ended with us.
RUNNING_STEP=''

end_running_step() {
  [[ -n $RUNNING_STEP ]] || return 0
  kill -TERM -- "-$RUNNING_STEP" 2>/dev/null || true
  wait "$RUNNING_STEP" 2>/dev/null || true
  RUNNING_STEP=''
}

trap 'end_running_step; exit 130' INT
trap 'end_running_step; exit 143' TERM HUP

# run_logged LABEL EXPECTED LOG COMMAND...: a long step whose chatter goes to
# LOG; the end of LOG is shown when the step fails, whose status is returned.
run_logged() {
  local label=$1 expected=$2 log=$3 started=$SECONDS pid status=0
  shift 3
  mkdir -p "$(dirname "$log")"
  say "- $label (expect $expected)"
  # In a process group of its own the whole step can be ended, and Ctrl-C is
  # not ignored as it is in a script's ordinary background jobs.
  set -m
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  set +m
  RUNNING_STEP=$pid
  show_progress "$pid" "$label"
  wait "$pid" || status=$?
  RUNNING_STEP=''
  if ((status == 0)); then
    say "  done in $(duration $((SECONDS - started)))"
  else
    say "  FAILED after $(duration $((SECONDS - started))); the end of $log:"
    tail -n 25 "$log" | sed 's/^/  | /' >&2
  fi
  return "$status"
}

# wait_until SECONDS WHAT COMMAND...: asks again until COMMAND succeeds.
wait_until() {
  local limit=$1 what=$2 deadline=$((SECONDS + $1)) spoken=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      warn "gave up waiting for $what after $(duration "$limit")"
      return 1
    fi
    if ((SECONDS - spoken >= AUTOODOO_HEARTBEAT)); then
      say "  … still waiting for $what"
      spoken=$SECONDS
    fi
    sleep 0.1
  done
}

# A folder for logs that the calling user can write.
log_dir() {
  local dir=$AUTOODOO_RUN_DIR/logs
  if ! mkdir -p "$dir" 2>/dev/null || [[ ! -w $dir ]]; then
    dir=${TMPDIR:-/tmp}/autoodoo-logs-$UID
    mkdir -p "$dir"
  fi
  printf '%s\n' "$dir"
}

# version_at_least HAVE WANT
version_at_least() {
  [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

# The version that apt would install, without epoch and revision.
package_candidate() {
  apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" { print $2 }' |
    sed 's/^[0-9]*://; s/[+~-].*//' | grep -v '^(none)$' || true
}

package_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Package lists older than a day may name files that the mirror has dropped.
refresh_package_lists() {
  local lists=/var/lib/apt/lists
  [[ -z $(find "$lists" -maxdepth 1 -name '*Packages*' -mmin -1440 -print -quit 2>/dev/null) ]] || return 0
  run_logged "refreshing the package lists" "some seconds" "$(log_dir)/apt-update.log" \
    as_root apt-get -q update
}

# debian_repository LABEL: the address from which apt takes Debian's packages
# (Debian) or their security updates (Debian-Security); nothing where apt is
# set up for another distribution alone.
debian_repository() {
  # shellcheck disable=SC2016  # apt expands these
  apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
    awk -F'|' -v label="$1" '$1 == label { print $2; exit }'
}

# install_packages WHY PACKAGE...: installs those that are missing.
install_packages() {
  local why=$1 package missing=()
  shift
  for package in "$@"; do
    package_installed "$package" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  have apt-get || die "missing here: ${missing[*]} ($why)" \
    "no apt on this system: install them with its own package manager, then run this again"
  refresh_package_lists || die "the package lists could not be refreshed"
  run_logged "installing ${missing[*]}: $why" "under a minute" "$(log_dir)/apt-install.log" \
    as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q install -y --no-install-recommends "${missing[@]}" ||
    die "these packages could not be installed: ${missing[*]}"
}

engine_socket() {
  case $1 in
    docker) printf '/run/docker.sock\n' ;;
    podman) printf '/run/podman/podman.sock\n' ;;
    *) usage_error "unknown engine '$1': expected docker or podman" ;;
  esac
}

# Both engines answer this Docker path, without a version in front of it.
engine_answers() {
  local socket
  socket=$(engine_socket "$1")
  [[ -S $socket ]] && have curl &&
    curl --silent --fail --max-time 5 --output /dev/null --unix-socket "$socket" http://engine/_ping
}
