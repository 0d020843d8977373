#!/bin/bash
# Waits for PostgreSQL and starts Odoo, or runs another command as it is.
#
# HOST, PORT, USER and PASSWORD (or PASSWORD_FILE) say where the database is;
# a db_* key in the configuration file goes before them.
set -e

if [[ -n ${PASSWORD_FILE+set} ]]; then
  PASSWORD=$(<"$PASSWORD_FILE")
fi

database_args=()

# The stock images differ by age, and so do the stand-ins: up to Odoo 16 a value
# found in the file becomes an argument too, cut out as the third word of its
# line; later ones leave it to Odoo to read the file.
add_database_arg() {
  local key=$1 value=$2 line
  if line=$(grep -E "^[[:space:]]*${key}[[:space:]]*=" "$ODOO_RC"); then
    ((${ODOO_VERSION%%.*} <= 16)) || return 0
    value=$(cut -d ' ' -f 3 <<<"$line" | tr -d '"\r')
  fi
  database_args+=("--$key" "$value")
}

wait_and_start() {
  wait-for-psql.py "${database_args[@]}" --timeout=30
  exec odoo "$@" "${database_args[@]}"
}

add_database_arg db_host "${HOST:-db}"
add_database_arg db_port "${PORT:-5432}"
add_database_arg db_user "${USER:-odoo}"
add_database_arg db_password "${PASSWORD:-odoo}"

case ${1:-} in
  odoo | --)
    shift
    # Scaffolding a module needs no database.
    [[ ${1:-} != scaffold ]] || exec odoo "$@"
    wait_and_start "$@"
    ;;
  -*) wait_and_start "$@" ;;
  *) exec "$@" ;;
esac
