#!/usr/bin/env python3
"""Returns once PostgreSQL accepts a connection, or fails after --timeout seconds."""
import argparse
import configparser
import os
import sys
import time

import psycopg2

KEYS = ("db_host", "db_port", "db_user", "db_password")


def settings():
    parser = argparse.ArgumentParser(description=__doc__)
    for key in KEYS:
        parser.add_argument("--" + key)
    parser.add_argument("--timeout", type=int, default=5)
    given = parser.parse_args()

    # An empty section keeps a file without [options] from being an error here;
    # Odoo itself says what is wrong with it.
    conf = configparser.RawConfigParser(strict=False)
    conf.read_dict({"options": {}})
    conf.read(os.environ.get("ODOO_RC", ""))
    found = {key: conf.get("options", key, fallback=None) or getattr(given, key) for key in KEYS}
    return found, given.timeout


def connect(found):
    psycopg2.connect(
        host=found["db_host"],
        port=found["db_port"],
        user=found["db_user"],
        password=found["db_password"],
        dbname="postgres",
    ).close()


def main():
    found, timeout = settings()
    deadline = time.monotonic() + timeout
    while True:
        try:
            return connect(found)
        except psycopg2.OperationalError as error:
            if time.monotonic() >= deadline:
                sys.exit("no database connection after %d s: %s" % (timeout, error))
        time.sleep(0.5)


if __name__ == "__main__":
    main()
