#!/usr/bin/env bash
# Starts PostgreSQL; on an empty PGDATA makes the cluster first.
#
# Read on that first start only: POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB,
# POSTGRES_INITDB_ARGS (each also as *_FILE), POSTGRES_INITDB_WALDIR,
# POSTGRES_HOST_AUTH_METHOD and the files of /docker-entrypoint-initdb.d.
set -Eeuo pipefail

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

# from_env NAME DEFAULT: NAME, or the content of the file that NAME_FILE names.
from_env() {
  local name=$1 default=$2 file_name=$1_FILE
  local value=${!name:-} file=${!file_name:-}
  [[ -z $value || -z $file ]] || fail "both $name and $file_name are set, give one of them"
  if [[ -z $value && -n $file ]]; then value=$(<"$file"); fi
  export "$name=${value:-$default}"
  unset "$file_name"
}

read_settings() {
  from_env POSTGRES_PASSWORD ''
  from_env POSTGRES_USER postgres
  from_env POSTGRES_DB "$POSTGRES_USER"
  from_env POSTGRES_INITDB_ARGS ''
}

is_initialised() { [[ -s $PGDATA/PG_VERSION ]]; }

# As root: folders that postgres can use, whatever was mounted there.
prepare_folders() {
  local folders=("$PGDATA" /run/postgresql)
  mkdir -p "$PGDATA" /run/postgresql
  chmod 0700 "$PGDATA" || true
  chmod 3775 /run/postgresql || true
  if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then
    mkdir -p "$POSTGRES_INITDB_WALDIR"
    chmod 0700 "$POSTGRES_INITDB_WALDIR"
    folders+=("$POSTGRES_INITDB_WALDIR")
  fi
  if ((EUID == 0)); then
    find "${folders[@]}" ! -user postgres -exec chown postgres {} +
  fi
}

require_password() {
  [[ -n $POSTGRES_PASSWORD || ${POSTGRES_HOST_AUTH_METHOD:-} == trust ]] ||
    fail 'the database is not initialised and no superuser password is given: set POSTGRES_PASSWORD (or POSTGRES_HOST_AUTH_METHOD=trust)'
}

make_cluster() {
  local args=()
  # The arguments come as one string, with quotes as a shell reads them.
  eval "args=($POSTGRES_INITDB_ARGS)"
  [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || args+=(--waldir "$POSTGRES_INITDB_WALDIR")
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${args[@]}"
}

# Connections from other hosts authenticate as the passwords are stored.
allow_hosts() {
  local method=${POSTGRES_HOST_AUTH_METHOD:-}
  [[ -n $method ]] || method=$(postgres -C password_encryption "$@")
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# A server for the first steps, with the final one's settings but no network.
start_temporary_server() {
  local options
  printf -v options '%q ' "$@" -c "listen_addresses=" -p "${PGPORT:-5432}"
  NOTIFY_SOCKET='' pg_ctl --pgdata="$PGDATA" --options="$options" --wait start
}

stop_temporary_server() {
  pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
}

# run_sql DATABASE ARGUMENT...
run_sql() {
  local database=$1
  shift
  PGHOST='' PGHOSTADDR='' PGPASSWORD="$POSTGRES_PASSWORD" \
    psql --no-psqlrc --no-password --set ON_ERROR_STOP=1 \
    --username "$POSTGRES_USER" --dbname "$database" "$@"
}

create_database() {
  [[ $POSTGRES_DB != postgres ]] || return 0
  run_sql postgres --set name="$POSTGRES_DB" <<<'CREATE DATABASE :"name";'
}

run_init_file() {
  local file=$1
  printf '%s: %s\n' "$0" "$file"
  case $file in
    *.sh)
      if [[ -x $file ]]; then
        "$file"
      else
        # shellcheck source=/dev/null
        source "$file"
      fi
      ;;
    *.sql) run_sql "$POSTGRES_DB" --file "$file" ;;
    *.sql.gz) gunzip --stdout "$file" | run_sql "$POSTGRES_DB" ;;
    *.sql.xz) xzcat "$file" | run_sql "$POSTGRES_DB" ;;
    *.sql.zst) zstd --decompress --stdout "$file" | run_sql "$POSTGRES_DB" ;;
    *) printf '%s: ignored, not a kind that is run\n' "$file" ;;
  esac
}

initialise() {
  local file
  require_password
  make_cluster
  allow_hosts "$@"
  start_temporary_server "$@"
  create_database
  for file in /docker-entrypoint-initdb.d/*; do
    [[ ! -e $file ]] || run_init_file "$file"
  done
  stop_temporary_server
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

# Options that make postgres print something and leave.
only_prints() {
  local arg
  for arg; do
    case $arg in -\? | --help | --describe-config | -V | --version) return 0 ;; esac
  done
  return 1
}

main() {
  if [[ ${1:-} == -* ]]; then set -- postgres "$@"; fi
  if [[ ${1:-} == postgres ]] && ! only_prints "$@"; then
    prepare_folders
    ((EUID != 0)) || exec gosu postgres "${BASH_SOURCE[0]}" "$@"
    read_settings
    if is_initialised; then
      printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
    else
      initialise "${@:2}"
    fi
  fi
  exec "$@"
}

main "$@"
