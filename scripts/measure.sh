# shellcheck shell=bash
# Helpers shared by the benchmarks; source it after lib.sh, do not run it.
#
# The benchmark sets ENGINE, WORK (its scratch folder) and ALL_NAMES (a pattern of
# the names of everything it makes); figures lie in $WORK/figures, one file a
# measure, one number a line.

# EPOCHREALTIME and printf take the language's decimal point; init takes a country from it.
export LC_ALL=C
unset LANG

# shellcheck disable=SC2034  # read by the scripts that source this file
{
  ODOO=19
  POSTGRES=17
  NGINX=1.26
  DOMAIN=bench.example.com
  OURS=$PROJECT/target/release/autoodoo
  MISSED=false
}

# --- arguments --------------------------------------------------------------

# count OPTION VALUE LEAST
count() {
  if [[ ! $2 =~ ^[0-9]{1,4}$ ]] || ((10#$2 < $3)); then
    usage_error "$1 wants a number from $3 on, not '$2'"
  fi
  printf '%d\n' "$((10#$2))"
}

# shellcheck disable=SC2034  # read by the scripts that source this file
release() {
  case $1 in
    14) ODOO=14 POSTGRES=15 ;;
    19) ODOO=19 POSTGRES=17 ;;
    *) usage_error "--odoo wants 14 or 19, not '$1'" ;;
  esac
}

# --- engine -----------------------------------------------------------------

image() { printf 'localhost/autoodoo/%s\n' "$1"; }
client() { "$ENGINE" "$@"; }

check_engine() {
  local name
  [[ -x $OURS ]] || die "there is no release build" "cargo build --release"
  engine_answers "$ENGINE" || die "$ENGINE does not answer" "scripts/engine start $ENGINE"
  have "$ENGINE" || die "the client of $ENGINE is missing" "scripts/engine install $ENGINE"
  for name in "odoo:$ODOO" "postgres:$POSTGRES" "nginx:$NGINX"; do
    client image inspect "$(image "$name")" >/dev/null 2>&1 ||
      die "$ENGINE has no image $(image "$name")" "scripts/images --engine $ENGINE $name"
  done
}

# In the site's network.
address_of() {
  client inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"
}

engine_version() {
  case $ENGINE in
    docker) client version --format '{{.Server.Version}}' ;;
    podman) client version --format '{{.Client.Version}}' ;;
  esac
}

named() { grep -E "$1" || true; }

# remove_containers PATTERN
remove_containers() {
  local names
  mapfile -t names < <(client ps --all --format '{{.Names}}' | named "$1")
  ((${#names[@]} == 0)) || client rm --force --volumes "${names[@]}"
}

# remove_named PATTERN: containers first, since they hold the rest; of these nginx,
# without which Podman does not let go of front, whose network it uses.
remove_named() {
  local names
  remove_containers "$1.*nginx" || return
  remove_containers "$1" || return
  mapfile -t names < <(client network ls --format '{{.Name}}' | named "$1")
  ((${#names[@]} == 0)) || client network rm "${names[@]}" || return
  mapfile -t names < <(client volume ls --format '{{.Name}}' | named "$1")
  ((${#names[@]} == 0)) || client volume rm "${names[@]}"
}

refuse_leftovers() {
  local found
  found=$({ client ps --all --format '{{.Names}}'; client volume ls --format '{{.Name}}'; } |
    named "$ALL_NAMES" | paste -sd ' ')
  [[ -z $found ]] || die "these are here already: $found" \
    "if an earlier run was killed: $0 --clean --engine $ENGINE"
}

clean_up() {
  remove_named "$ALL_NAMES" >/dev/null || warn "not everything of the benchmark could be removed"
  [[ -z $WORK ]] || rm -rf "$WORK"
}

# make_site_in DIR NAME HTTP_PORT HTTPS_PORT OPTION...
make_site_in() {
  mkdir -p "$1"
  "$OURS" --site-dir "$1" --yes init --name "$2" --domain "$DOMAIN" --bind 127.0.0.1 --language en_US \
    --odoo-image "$(image "odoo:$ODOO")" --postgres-image "$(image "postgres:$POSTGRES")" \
    --nginx-image "$(image "nginx:$NGINX")" --http-port "$3" --https-port "$4" "${@:5}"
}

# --- figures ----------------------------------------------------------------

now() { printf '%s\n' "${EPOCHREALTIME/./}"; }
record() { printf '%s\n' "$2" >>"$WORK/figures/$1"; }
median() {
  sort -n "$WORK/figures/$1" |
    awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}
largest() { sort -n "$WORK/figures/$1" | tail -n 1; }

# timed FIGURE COMMAND...: microseconds.
timed() {
  local figure=$1 begun=${EPOCHREALTIME/./} ended
  shift
  "$@" || return
  ended=${EPOCHREALTIME/./}
  record "$figure" $((ended - begun))
}

# weighed FIGURE COMMAND...: KiB resident at most. A small program must be the
# one that forks: the kernel counts the memory of whoever it was before `exec`.
weighed() {
  command time --format=%M --append --output="$WORK/figures/$1" "${@:2}"
}

# Of figures that timed and weighed took.
ms() { awk -v us="$(median "$1")" 'BEGIN { print us / 1e3 }'; }
mib() { awk -v kib="$(largest "$1")" 'BEGIN { print kib / 1024 }'; }

# row MEASURE UNIT OURS THEIRS GOAL: the goal, such as "<= 1.05" or ">= 20", is for
# the ratio where THEIRS is a number, else for OURS; "-" only informs.
row() {
  local met
  met=$(awk -v name="$1" -v unit="$2" -v ours="$3" -v theirs="$4" -v goal="$5" -v table="$WORK/table" 'BEGIN {
    split(goal, wanted, " ")
    compared = theirs != "-"
    ratio = !compared ? "-" : theirs > 0 ? ours / theirs : 0
    value = compared ? ratio : ours
    met = goal == "-" ? "-" : (wanted[1] == "<=" ? value <= wanted[2] + 0 : value >= wanted[2] + 0) ? "yes" : "no"
    form = (unit ~ /^(s|ms|MiB)$/ ? "%.1f" : "%.0f") (unit == "" ? "" : " " unit)
    show_theirs = compared ? sprintf(form, theirs) : "-"
    show_ratio = compared ? sprintf("%.2f", ratio) : "-"
    bound = compared ? "%.2f x" : form
    show_goal = goal == "-" ? "-" : wanted[1] " " sprintf(bound, wanted[2])
    printf "%s|%s|%s|%s|%s|%s\n", name, sprintf(form, ours), show_theirs, show_ratio, show_goal, met >>table
    print met
  }')
  # shellcheck disable=SC2034  # read by the scripts that source this file
  [[ $met != no ]] || MISSED=true
}

print_rows() { awk -F'|' '{ printf "%-44s %12s %12s %7s %12s  %s\n", $1, $2, $3, $4, $5, $6 }' "$WORK/table"; }

print_machine() {
  printf '%s %s, Odoo %s, %s cores, %s GiB, load %s at the end\n' "$ENGINE" "$(engine_version)" "$ODOO" \
    "$(nproc)" "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" \
    "$(cut -d ' ' -f 1 /proc/loadavg)"
}

# Interleaving keeps ratios fair; minutes long runs still feel what else the machine does.
warn_when_busy() {
  local load
  load=$(cut -d ' ' -f 1 /proc/loadavg)
  if ((${load%.*} >= $(nproc))); then
    warn "the machine is busy (load $load on $(nproc) cores): long measures will differ for that reason"
  fi
}

# long_step LABEL COMMAND...
long_step() {
  run_logged "$1" "1 to 3 min" "$(log_dir)/$(basename "$0").log" "${@:2}" || die "the benchmark cannot go on"
}
