"""An S3 server for tests: moto, which checks signatures, policies, conditions and locks.

Usage: s3_server.py ADDRESS KEYS [TLS_ADDRESS CERTIFICATE PRIVATE_KEY]

Once it can be used, the file KEYS holds JSON: for each user the access key's
identifier and the secret one. Everything else lies in memory.
"""

import json
import os
import sys
import threading

import boto3
from moto import settings
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

REGION = "us-east-1"
BUCKETS = ("plain", "kept", "many")
# Longer than one page of a listing.
MANY = 1100
ALL = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
NO_DELETION = {"Effect": "Deny", "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"], "Resource": "*"}
USERS = {"owner": [ALL], "adder": [ALL, NO_DELETION]}


def serve(address, tls=None):
    host, port = address.split(":")
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server(host, int(port), app, True, request_handler=MotoRequestHandler, ssl_context=tls)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def client(service, address):
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    return boto3.client(service, endpoint_url=f"http://{address}", region_name=REGION, **keys)


def make_buckets(s3):
    for name in BUCKETS:
        s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=configuration)


def fill():
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for number in range(MANY):
        backend.put_object("many", f"snapshots/{number:064x}", b"x" * (number % 7))


def make_user(iam, name, statements):
    iam.create_user(UserName=name)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return [key["AccessKeyId"], key["SecretAccessKey"]]


def main(address, keys_file, tls_address=None, certificate=None, private_key=None):
    serve(address)
    if tls_address:
        serve(tls_address, (certificate, private_key))
    make_buckets(client("s3", address))
    fill()
    iam = client("iam", address)
    keys = {name: make_user(iam, name, statements) for name, statements in USERS.items()}
    # From here on nobody is let in without a key.
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    with open(keys_file + ".new", "w", encoding="utf-8") as file:
        json.dump(keys, file)
    os.rename(keys_file + ".new", keys_file)
    threading.Event().wait()


main(*sys.argv[1:])
