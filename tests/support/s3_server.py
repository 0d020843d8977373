"""An S3 server for tests: moto, which checks signatures, policies and locks.

Usage: s3_server.py HOST PORT. Once it listens it prints one line of JSON: the keys
by what they may do. Everything lies in memory and ends with the process.
"""

import json
import sys

from moto import settings
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
