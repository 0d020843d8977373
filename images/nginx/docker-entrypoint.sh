#!/bin/sh
# Runs the scripts of /docker-entrypoint.d when the command is nginx, then the
# command itself.
set -e

run_scripts() {
  for script in /docker-entrypoint.d/*; do
    case $script in
      # Settings for the scripts that come after it.
      *.envsh)
        # shellcheck source=/dev/null
        if [ -x "$script" ]; then . "$script"; fi
        ;;
      *.sh)
        if [ -x "$script" ]; then "$script"; else echo "$script: ignored, not executable" >&2; fi
        ;;
    esac
  done
}

case ${1:-} in
  nginx | nginx-debug) run_scripts ;;
esac
exec "$@"
